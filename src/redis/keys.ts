// Every name this program uses in Redis begins here; prelude/names.lua has the rest. All keys and channels of a model,
// and all keys of a client, share a hash tag, so one script may touch them all in a Cluster.

/** Another number wherever the layout of the packed state changes: releases that disagree must not read each other's. */
const LAYOUT = 1

/** What a model's scripts get as KEYS[1]. */
export function roomPrefix(model: string): string {
  return `sluice:${LAYOUT}:{${model}}:`
}

/** Where a gateway hears that there are grants for it. */
export function grantsChannel(model: string, gateway: string): string {
  return `${roomPrefix(model)}grants:${gateway}`
}

/** What the scripts of a client's limits get as KEYS[1]; limitScripts/prelude/meters.lua has the rest. */
export function clientPrefix(client: string): string {
  return `sluice:${LAYOUT}:client:{${client}}:`
}
