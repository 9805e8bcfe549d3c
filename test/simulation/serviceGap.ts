// How far two backlogged flows drift apart: the largest difference of service per weight over any interval, in units of what
// start-time fair queueing allows on one server (one largest request of each, per weight). Goyal, Vin and Cheng, 1996.
import type { Served } from './sources.ts'

export interface ServedFlow {
  served: Served[]
  weight: number
}

/** The worst over all pairs. At most 1 on an ideal server; what is charged differs from what was reserved, so a little more here. */
export function serviceGap(flows: ServedFlow[]): number {
  let worst = 0
  for (const [i, a] of flows.entries())
    for (const b of flows.slice(i + 1)) worst = Math.max(worst, spread(a, b) / (largest(a) + largest(b)))
  return worst
}

/** The difference wanders; the largest change between any two moments is its highest less its lowest. */
function spread(a: ServedFlow, b: ServedFlow): number {
  const turns = [
    ...a.served.map(one => ({ atMs: one.atMs, gain: one.costS / a.weight })),
    ...b.served.map(one => ({ atMs: one.atMs, gain: -one.costS / b.weight })),
  ].sort((left, right) => left.atMs - right.atMs)
  let difference = 0
  let highest = 0
  let lowest = 0
  for (const { gain } of turns) {
    difference += gain
    highest = Math.max(highest, difference)
    lowest = Math.min(lowest, difference)
  }
  return highest - lowest
}

function largest(flow: ServedFlow): number {
  return flow.served.reduce((most, one) => Math.max(most, one.costS / flow.weight), 0)
}
