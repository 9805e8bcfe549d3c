// Which pools of a room in Redis are open, as the last report told this gateway.
import { allShut, OPEN_TO_ALL } from '../domain/pool.ts'
import type { Report } from '../domain/poolReport.ts'
import type { RoomSettings } from '../domain/room.ts'
import type { Ask } from '../gateway/ports.ts'

export class Gates {
  #pools: { gate: number; mostTokens: number }[] = []

  hear({ gates }: Report, pools: RoomSettings['pools']): void {
    this.#pools = pools.map(({ name, tokensPerMinute }) => ({
      gate: gates.find(one => one.pool === name)?.gate ?? OPEN_TO_ALL,
      mostTokens: tokensPerMinute ?? Number.POSITIVE_INFINITY,
    }))
  }

  forget(): void {
    this.#pools = []
  }

  /** It would not wait for a pool to open, and none is that could hold it. */
  areShutTo(ask: Ask): boolean {
    return ask.refuseWhenShut === true && allShut(this.#pools, ask.tokens)
  }
}
