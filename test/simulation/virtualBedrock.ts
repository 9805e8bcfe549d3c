// Bedrock behind every pool, in virtual time: a real simulator each, the real reading of its replies, and between them a network
// that takes its time and can do what no simulator does: refuse, stall, garble, break after the head, dawdle over an error.
import { type Dispatcher, errors } from 'undici'
import { Reply } from '../../src/bedrock/reply.ts'
import type { Clock, Dice } from '../../src/domain/clock.ts'
import type { PoolSettings } from '../../src/domain/model.ts'
import type { Receiver, Upstream, UpstreamRequest } from '../../src/gateway/ports.ts'
import { NO_FAULTS, type SimulatorSettings } from '../../src/simulator/settings.ts'
import { type SimulatedReply, Simulator } from '../../src/simulator/simulator.ts'
import type { VirtualClock } from '../support/virtualClock.ts'

/** What the network does with a call. */
export const TRICKS = [
  'refuses',
  'stalls',
  'stalls after the head',
  'breaks after the head',
  'garbles the status',
  'head nobody can write',
  'slow error',
  'long error',
  'late throttle',
  'throttle of the day',
] as const
export type Trick = (typeof TRICKS)[number]

const SHORTEST_TRIP_MS = 2
const LONGEST_TRIP_MS = 30
/** Longer than an error is held back by all who hold it. */
const SLOW_ERROR_MS = 5_000
const LATE_THROTTLE_MS = 1_200
const LONG_ERROR_BYTES = 70 * 1024
/** The header whose value no client can be sent. */
export const UNWRITABLE = 'x-unwritable'

export interface BedrockParts {
  time: VirtualClock
  dice: Dice
  /** A call goes out. */
  onSend: (pool: PoolSettings, request: UpstreamRequest) => void
  /** It was thrown back, or failed. */
  onFailure: (request: UpstreamRequest) => void
}

export class VirtualBedrock {
  /** By pool: what befalls which part of the calls. */
  readonly tricks = new Map<string, { trick: Trick; rate: number }>()
  readonly #parts: BedrockParts
  readonly #simulators = new Map<string, Simulator>()
  readonly #stalled = new Set<Line>()

  constructor(parts: BedrockParts) {
    this.#parts = parts
  }

  simulator(pool: string): Simulator {
    let simulator = this.#simulators.get(pool)
    if (!simulator) {
      const latency = { firstTokenMs: 250, perTokenMs: 8, jitter: 0.3 }
      const settings: SimulatorSettings = { seed: 1, window: 'token-bucket', quotas: [], latency, faults: NO_FAULTS }
      simulator = new Simulator({ ...settings, seed: Math.floor(this.#parts.dice() * 2 ** 31) }, this.#parts.time)
      this.#simulators.set(pool, simulator)
    }
    return simulator
  }

  /** What never answered is given up, as the real upstream does after a while. */
  timeOut(): void {
    for (const line of [...this.#stalled]) line.fail(new errors.HeadersTimeoutError())
    this.#stalled.clear()
  }

  /** `clock`: the gateway's own. */
  upstream(clock: Clock): Upstream {
    return { send: (pool, request, receiver) => this.#send(pool, request, this.#overheard(request, receiver), clock) }
  }

  #overheard(request: UpstreamRequest, receiver: Receiver): Receiver {
    const { onFailure } = this.#parts
    return {
      head: (status, headers, flow) => receiver.head(status, headers, flow),
      data: chunk => receiver.data(chunk),
      end: (usage, exception) => receiver.end(usage, exception),
      throttled(reply, of) {
        onFailure(request)
        receiver.throttled(reply, of)
      },
      errored(reply) {
        onFailure(request)
        receiver.errored(reply)
      },
      failed(refusal, sent) {
        onFailure(request)
        receiver.failed(refusal, sent)
      },
    }
  }

  #send(pool: PoolSettings, request: UpstreamRequest, receiver: Receiver, clock: Clock): Reply {
    const { time, dice, onSend } = this.#parts
    onSend(pool, request)
    const tripMs = () => SHORTEST_TRIP_MS + dice() * (LONGEST_TRIP_MS - SHORTEST_TRIP_MS)
    const reply = new Reply(request.operation, receiver, clock)
    const line = new Line(reply, time, tripMs(), () => this.#stalled.delete(line))
    const befalls = this.tricks.get(pool.name)
    const trick = befalls && dice() < befalls.rate ? befalls.trick : undefined
    time.after(tripMs(), () => {
      if (reply.abandoned) return
      if (trick === 'refuses') {
        line.fail(Object.assign(new Error('refused'), { code: 'ECONNREFUSED' }))
        return
      }
      reply.onRequestStart(line)
      if (trick === 'stalls' || trick === 'stalls after the head') this.#stalled.add(line)
      if (trick === 'stalls') return
      const scripted = trick && this.#play(trick, line)
      if (scripted) return
      const { rawUrl, body } = request
      const leave = this.simulator(pool.name).receive(
        { method: 'POST', rawUrl, headers: {}, body },
        tampered(line, trick),
      )
      line.onAbort = leave
    })
    return reply
  }

  /** Answers that take no simulator; false: this trick needs one. */
  #play(trick: Trick, line: Line): boolean {
    const { time } = this.#parts
    const say = (status: number, errorType: string, body: string) => {
      line.head(status, ['Content-Type', 'application/json', 'x-amzn-ErrorType', errorType])
      line.data(Buffer.from(body))
      line.end()
    }
    const message = (text: string) => JSON.stringify({ message: text })
    if (trick === 'slow error') {
      const unwritable = this.#parts.dice() < 0.3 ? [UNWRITABLE, 'ü'] : []
      const type = ['Content-Type', 'application/json', 'x-amzn-ErrorType', 'ServiceUnavailableException']
      line.head(503, [...type, ...unwritable])
      time.after(SLOW_ERROR_MS, () => {
        line.data(Buffer.from(message('slow')))
        line.end()
      })
    } else if (trick === 'long error') say(503, 'ServiceUnavailableException', message('x'.repeat(LONG_ERROR_BYTES)))
    else if (trick === 'late throttle')
      time.after(LATE_THROTTLE_MS, () => say(429, 'ThrottlingException', message('Too many requests, please wait.')))
    else if (trick === 'throttle of the day')
      say(429, 'ThrottlingException', message('Too many tokens per day, please wait before trying again.'))
    else return false
    return true
  }
}

function tampered(line: Line, trick: Trick | undefined): SimulatedReply {
  if (trick === undefined) return line
  let hasHead = false
  const rest = (say: () => void) => {
    if (trick === 'breaks after the head' && hasHead) line.cut()
    else if (trick !== 'stalls after the head') say()
  }
  return {
    head(status, headers) {
      hasHead = true
      if (trick === 'garbles the status') line.head(612, headers)
      else line.head(status, trick === 'head nobody can write' ? [...headers, UNWRITABLE, 'ü'] : headers)
    },
    data(chunk) {
      rest(() => line.data(chunk))
      return undefined
    },
    end: () => rest(() => line.end()),
    cut: () => line.cut(),
  }
}

/** One connection: what is said arrives in order, after a while, and not while the reader has paused. */
class Line implements SimulatedReply, Dispatcher.DispatchController {
  rawHeaders: string[] = []
  aborted = false
  paused = false
  reason: Error | null = null
  onAbort: () => void = () => {}
  readonly #reply: Reply
  readonly #time: VirtualClock
  readonly #backMs: number
  readonly #onOver: () => void
  readonly #arrived: (() => void)[] = []
  #isOver = false

  constructor(reply: Reply, time: VirtualClock, backMs: number, onOver: () => void) {
    this.#reply = reply
    this.#time = time
    this.#backMs = backMs
    this.#onOver = onOver
  }

  abort(reason: Error): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    this.onAbort()
    this.fail(reason)
  }

  pause(): void {
    this.paused = true
  }

  resume(): void {
    this.paused = false
    this.#deliver()
  }

  head(status: number, headers: string[]): void {
    this.#later(() => {
      this.rawHeaders = headers
      try {
        this.#reply.onResponseStart(this, status)
      } catch (error) {
        // As undici does with a handler that throws.
        this.abort(error as Error)
      }
    })
  }

  data(chunk: Buffer): undefined {
    this.#later(() => this.#reply.onResponseData(this, chunk))
  }

  end(): void {
    this.#later(() => {
      this.#over()
      this.#reply.onResponseEnd()
    })
  }

  cut(): void {
    this.#later(() => this.fail(Object.assign(new Error('cut'), { code: 'ECONNRESET' })))
  }

  fail(error: Error): void {
    if (this.#isOver) return
    this.#over()
    this.#reply.onResponseError(this, error)
  }

  #over(): void {
    this.#isOver = true
    this.#onOver()
  }

  #later(task: () => void): void {
    this.#time.after(this.#backMs, () => {
      this.#arrived.push(task)
      this.#deliver()
    })
  }

  #deliver(): void {
    while (!this.paused && !this.#isOver) {
      const task = this.#arrived.shift()
      if (!task) return
      task()
    }
  }
}
