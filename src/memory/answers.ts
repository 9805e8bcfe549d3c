// Answers kept in this process: the oldest go first, those of all models together stay within their bytes.
import type { Clock } from '../domain/clock.ts'
import type { AnswerStore, KeptAnswer } from '../gateway/answerPorts.ts'
import type { WholeReply } from '../gateway/ports.ts'

export interface AnswerBounds {
  maxAgeMs: number
  /** Bytes of all answers, headers and what keeping them takes included. */
  maxBytes: number
}

interface Entry {
  reply: WholeReply
  keptMs: number
  bytes: number
}

/** Objects, key and map entry of an answer, roughly. */
const ENTRY_BYTES = 512

export class MemoryAnswers implements AnswerStore {
  readonly #bounds: AnswerBounds
  readonly #clock: Clock
  /** Oldest first. */
  readonly #entries = new Map<string, Entry>()
  #bytes = 0

  constructor(bounds: AnswerBounds, clock: Clock) {
    this.#bounds = bounds
    this.#clock = clock
  }

  get bytes(): number {
    return this.#bytes
  }

  async get(model: string, key: string): Promise<KeptAnswer | undefined> {
    const entry = this.#entries.get(`${model} ${key}`)
    const ageMs = entry ? this.#ageMs(entry) : Number.POSITIVE_INFINITY
    return entry && ageMs <= this.#bounds.maxAgeMs ? { reply: entry.reply, ageMs } : undefined
  }

  async put(model: string, key: string, reply: WholeReply): Promise<void> {
    const place = `${model} ${key}`
    const { status, headers } = reply
    const bytes = reply.body.length + headers.reduce((sum, part) => sum + 2 * part.length, ENTRY_BYTES)
    if (bytes > this.#bounds.maxBytes) return
    this.#drop(place)
    for (const [oldest, entry] of this.#entries) {
      const hasRoom = this.#bytes + bytes <= this.#bounds.maxBytes
      if (hasRoom && this.#ageMs(entry) <= this.#bounds.maxAgeMs) break
      this.#drop(oldest)
    }
    const body = Buffer.allocUnsafeSlow(reply.body.length)
    reply.body.copy(body)
    this.#entries.set(place, { reply: { status, headers, body }, keptMs: this.#clock.nowMs(), bytes })
    this.#bytes += bytes
  }

  #drop(place: string): void {
    this.#bytes -= this.#entries.get(place)?.bytes ?? 0
    this.#entries.delete(place)
  }

  #ageMs({ keptMs }: Entry): number {
    return Math.max(0, this.#clock.nowMs() - keptMs)
  }
}
