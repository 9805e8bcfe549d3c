// What the control loop asks of the law that decides a model's paces and gates: a step, and how things stand.
import type { PoolReport, Steering } from '../domain/poolReport.ts'
import type { PoolStanding, SteeringEvent } from '../domain/steering.ts'

/** Pure: `state` is all it remembers, as text; '' before the first step. */
export interface Law {
  steer(
    model: string,
    state: string,
    pools: PoolReport[],
    nowMs: number,
  ): { steering: Steering; events: SteeringEvent[] }
  standings(model: string, state: string, nowMs: number): PoolStanding[]
}
