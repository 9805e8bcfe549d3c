// What large bodies demand, read off the event loop: parsing 24 MB would stop everything else for a tenth of a second. One
// body at a time goes to each worker, so that of a worker that dies or takes too long just that one request is lost.
import { Worker } from 'node:worker_threads'
import type { Clock } from '../domain/clock.ts'
import type { Priority } from '../domain/model.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Presence } from '../gateway/presence.ts'
import type { Stage } from '../gateway/stage.ts'
import { type DemandResult, readDemand } from '../wire/demand.ts'
import type { Operation } from '../wire/operations.ts'
import { rememberPayloadHash } from '../wire/payloadHash.ts'

/** From here on it costs more to read (about 1 ms) than to send over and back (a tenth of that). */
export const LARGE_BYTES = 128 * 1024
/** A second one so that one hostile body does not hold up all other large ones. */
const MOST_WORKERS = 2
/** Well above the longest that any body within `server.maxBodyBytes` takes. */
const LONGEST_MS = 10_000
/** Several times what the largest body takes; a worker beyond it dies instead of the process. */
const RESOURCES = { maxOldGenerationSizeMb: 1024 }

export interface ReadJob {
  operation: Operation
  body: ArrayBuffer
}

export interface ReadAnswer {
  result: DemandResult
  sha256: string
  body: ArrayBuffer
}

/** `body` is from now on where the bytes are; those handed in are gone. */
export type Reading =
  | { kind: 'read'; result: DemandResult; body: Buffer }
  | { kind: 'refused'; refusal: Refusal }
  /** The client left before it was its turn. */
  | { kind: 'gone' }

interface Job {
  operation: Operation
  body: Buffer
  priority: Priority
  presence: Presence
  resolve(reading: Reading): void
}

export interface DemandReadersParts {
  /** Bounds the large bodies that wait to be read or are. */
  stage: Stage
  clock: Clock
  fault: (error: unknown) => void
  worker?: URL
}

export class DemandReaders {
  readonly stage: Stage
  readonly #parts: DemandReadersParts
  readonly #queue: Job[] = []
  readonly #idle: Reader[] = []
  readonly #readers = new Set<Reader>()

  constructor(parts: DemandReadersParts) {
    this.stage = parts.stage
    this.#parts = parts
  }

  /** At once, of a body below `LARGE_BYTES`. */
  readSmall(operation: Operation, body: Buffer): DemandResult {
    const beganMs = this.#parts.clock.nowMs()
    const result = readDemand(operation, body)
    this.stage.took(this.#parts.clock.nowMs() - beganMs)
    return result
  }

  async readLarge(operation: Operation, body: Buffer, priority: Priority, presence: Presence): Promise<Reading> {
    const { stage } = this
    if (!stage.enter(priority)) return { kind: 'refused', refusal: stage.refusal(priority) }
    const beganMs = this.#parts.clock.nowMs()
    const reading = await new Promise<Reading>(resolve => {
      this.#queue.push({ operation, body, priority, presence, resolve })
      this.#handOut()
    })
    stage.leave()
    if (reading.kind === 'read') stage.took(this.#parts.clock.nowMs() - beganMs)
    return reading
  }

  async close(): Promise<void> {
    await Promise.all([...this.#readers].map(reader => reader.stop()))
  }

  #handOut(): void {
    while (this.#idle.length > 0 || this.#readers.size < MOST_WORKERS) {
      const job = this.#queue.shift()
      if (!job) return
      if (job.presence.isGone) job.resolve({ kind: 'gone' })
      else this.#give(job)
    }
  }

  #start(): Reader {
    const reader = new Reader(this.#parts.worker ?? new URL('./demandWorker.ts', import.meta.url), () => {
      this.#readers.delete(reader)
      const at = this.#idle.indexOf(reader)
      if (at >= 0) this.#idle.splice(at, 1)
      this.#handOut()
    })
    this.#readers.add(reader)
    return reader
  }

  #give(job: Job): void {
    const { clock, fault } = this.#parts
    const failed = (error: unknown) => {
      fault(error)
      job.resolve({ kind: 'refused', refusal: unreadable() })
    }
    let reader: Reader
    try {
      reader = this.#idle.pop() ?? this.#start()
    } catch (error) {
      // The system has no thread left for us.
      failed(error)
      return
    }
    const cancel = clock.after(LONGEST_MS, () => {
      job.resolve({ kind: 'refused', refusal: this.stage.refusal(job.priority) })
      void reader.stop()
    })
    reader.read(job.operation, ownBytes(job.body), outcome => {
      cancel()
      if (outcome instanceof Error) {
        failed(outcome)
        return
      }
      const body = Buffer.from(outcome.body)
      rememberPayloadHash(body, outcome.sha256)
      job.resolve({ kind: 'read', result: outcome.result, body })
      this.#idle.push(reader)
      this.#handOut()
    })
  }
}

/** One worker, and what it is busy with. */
class Reader {
  readonly #worker: Worker
  #done: ((outcome: ReadAnswer | Error) => void) | undefined

  constructor(file: URL, gone: () => void) {
    this.#worker = new Worker(file, { resourceLimits: RESOURCES })
    // A process that has nothing else to do may end.
    this.#worker.unref()
    this.#worker.on('message', (answer: ReadAnswer) => this.#finish(answer))
    this.#worker.on('error', (error: Error) => this.#finish(error))
    this.#worker.on('exit', code => {
      this.#finish(new Error(`the reader of large bodies exited with ${code}`))
      gone()
    })
  }

  read(operation: Operation, body: ArrayBuffer, done: (outcome: ReadAnswer | Error) => void): void {
    this.#done = done
    const job: ReadJob = { operation, body }
    this.#worker.postMessage(job, [body])
  }

  async stop(): Promise<void> {
    this.#done = undefined
    await this.#worker.terminate()
  }

  #finish(outcome: ReadAnswer | Error): void {
    const done = this.#done
    this.#done = undefined
    done?.(outcome)
  }
}

/** Bytes in memory of their own can change threads; a part of a larger piece is copied out of it first. */
function ownBytes(body: Buffer): ArrayBuffer {
  const whole = body.buffer
  if (whole instanceof ArrayBuffer && whole.byteLength === body.length) return whole
  return new Uint8Array(body).buffer
}

function unreadable(): Refusal {
  return { code: 'internal', message: "The request's body could not be read." }
}
