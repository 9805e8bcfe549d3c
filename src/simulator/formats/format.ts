// How a provider's models write an answer: whole, and as a stream of events.
import type { Usage } from '../../domain/charge.ts'
import type { Dice } from '../../domain/clock.ts'
import type { Answer } from '../answer.ts'
import type { Names } from '../dice.ts'
import type { JsonObject } from '../json.ts'

/** Everything a format may tell of a call. */
export interface Completion {
  modelId: string
  body: JsonObject
  answer: Answer
  /** Of the whole answer. */
  usage: Usage
  /** Whether the request marked a prefix for the prompt cache. */
  marksCache: boolean
  /** … or the model tells of the cache regardless. */
  tellsCache: boolean
  requestId: string
  startedAtMs: number
  names: Names
  dice: Dice
  /** As of now: formats ask when they write, not before. */
  latency(): { invocationMs: number; firstByteMs: number }
}

export interface StreamEvent {
  /** The event's type, where the carrier names it. */
  name: string
  payload: JsonObject
  /** Output tokens it carries. The model needs its time for each. */
  tokens: number
  /** The stream's last event; carries InvokeModel's metrics. */
  last?: true
}

export interface Format {
  /** False: embeddings, which produce no tokens and cannot stream. */
  writesText: boolean
  whole(completion: Completion): JsonObject
  stream(completion: Completion): Generator<StreamEvent>
}

export function wholeText(completion: Completion): string {
  return completion.answer.pieces.join('')
}
