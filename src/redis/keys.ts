// Every name this program uses in Redis begins here; prelude/names.lua has the rest. All keys and channels of a model,
// and all keys of a client, share a hash tag, so one script may touch them all in a Cluster.

/** Another number wherever the layout of the packed state changes: releases that disagree must not read each other's. */
const LAYOUT = 2

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

/** What an address did in the last minute; each is a key and a slot of its own. */
export function addressKey(name: string): string {
  return `sluice:${LAYOUT}:address:${name}`
}

/** The index of a model's kept answers and their sizes; keepAnswer.lua says what is in them. */
export function answerIndexKeys(model: string): { index: string; sizes: string } {
  const prefix = roomPrefix(model)
  return { index: `${prefix}answers`, sizes: `${prefix}answer-sizes` }
}

export function answerKey(model: string, key: string): string {
  return `${roomPrefix(model)}answer:${key}`
}

/** What the scripts of a shared call get as KEYS[1]: a tag of its own, so that a Cluster's nodes share the bytes. */
export function flightPrefix(key: string): string {
  return `sluice:${LAYOUT}:{flight:${key}}:`
}

/** Where followers of a flight hear that it has told more. */
export function toldChannel(key: string, id: string): string {
  return `${flightPrefix(key)}told:${id}`
}

/** Where a gateway hears that one of its flights is followed. */
export function followedChannel(gateway: string): string {
  return `sluice:${LAYOUT}:followed:${gateway}`
}
