// One call as the simulator sees it, without HTTP: what came, where the answer goes, and the chance that is its own.
import type { Clock, Dice } from '../domain/clock.ts'
import type { Operation } from '../wire/operations.ts'
import { Names, seededDice } from './dice.ts'
import { drawFault, type FaultDraw } from './faults.ts'
import type { SimulatorSettings } from './settings.ts'

export interface SimulatedRequest {
  method: string
  /** Path and query as they came, undecoded. */
  rawUrl: string
  /** Names in lower case. */
  headers: Record<string, string | string[] | undefined>
  body: Buffer
}

export interface SimulatedReply {
  /** `headers` is flat: name, value, name, value, … */
  head(status: number, headers: string[]): void
  /** Returns a Hold when the peer does not keep up: nothing more comes until it is released. */
  data(chunk: Buffer): Hold | undefined
  end(): void
  /** Destroys the connection. */
  cut(): void
}

/** Takes what to do once the peer has caught up. */
export type Hold = (release: () => void) => void

/** The caller went away. Calling it after the end, or twice, does nothing. */
export type Leave = () => void

export interface Call {
  request: SimulatedRequest
  reply: SimulatedReply
  operation: Operation
  /** The decoded id in the path. */
  id: string | undefined
  region: string
  requestId: string
  startedAtMs: number
  names: Names
  /** For words, lengths and padding. */
  answerDice: Dice
  /** For waits. */
  timeDice: Dice
  fault: FaultDraw
}

/** What belongs to the call alone; `place` is its number in the order of arrival. */
export function newCall(
  settings: SimulatorSettings,
  place: number,
  clock: Clock,
  from: Pick<Call, 'request' | 'reply' | 'operation' | 'id' | 'region'>,
): Call {
  const names = new Names(seededDice(settings.seed, place, 1))
  return {
    ...from,
    requestId: names.uuid(),
    startedAtMs: clock.nowMs(),
    names,
    answerDice: seededDice(settings.seed, place, 2),
    timeDice: seededDice(settings.seed, place, 3),
    fault: drawFault(seededDice(settings.seed, place, 4), settings.faults),
  }
}
