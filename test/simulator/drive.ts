// Drives a Simulator without HTTP, in virtual time, and reads what it answers.
import { EventStreamCodec } from '@smithy/core/event-streams'
import { NO_FAULTS, type SimulatorSettings } from '../../src/simulator/settings.ts'
import { type SimulatedReply, type SimulatedRequest, Simulator } from '../../src/simulator/simulator.ts'
import { VirtualClock } from '../support/virtualClock.ts'

export const QUICK: SimulatorSettings = {
  seed: 7,
  window: 'token-bucket',
  quotas: [],
  latency: { firstTokenMs: 0, perTokenMs: 0, jitter: 0 },
  faults: NO_FAULTS,
  answerTokens: 20,
}

export interface Seen {
  status: number
  headers: Record<string, string>
  headerNames: string[]
  body: Buffer
  /** When each chunk came, in milliseconds after the request. */
  chunkTimesMs: number[]
  state: 'open' | 'ended' | 'cut'
  leave: () => void
}

export interface Driven {
  simulator: Simulator
  clock: VirtualClock
  /** Sends; the answer fills as time passes. */
  send(path: string, body?: unknown, more?: Partial<SimulatedRequest>): Seen
  /** Sends and lets an hour pass. */
  ask(path: string, body?: unknown, more?: Partial<SimulatedRequest>): Promise<Seen>
}

export function drive(settings: Partial<SimulatorSettings> = {}, clock = new VirtualClock()): Driven {
  const simulator = new Simulator({ ...QUICK, ...settings }, clock)
  const send: Driven['send'] = (path, body, more = {}) => {
    const seen: Seen = {
      status: 0,
      headers: {},
      headerNames: [],
      body: Buffer.alloc(0),
      chunkTimesMs: [],
      state: 'open',
      leave: () => {},
    }
    const sentAtMs = clock.nowMs()
    const reply: SimulatedReply = {
      head(status, flat) {
        seen.status = status
        seen.headerNames = flat.filter((_, i) => i % 2 === 0)
        for (let i = 0; i < flat.length; i += 2) seen.headers[flat[i]!.toLowerCase()] = flat[i + 1]!
      },
      data(chunk) {
        seen.body = Buffer.concat([seen.body, chunk])
        seen.chunkTimesMs.push(clock.nowMs() - sentAtMs)
        return undefined
      },
      end() {
        seen.state = 'ended'
      },
      cut() {
        seen.state = 'cut'
      },
    }
    const bytes = Buffer.isBuffer(body) ? body : Buffer.from(body === undefined ? '' : JSON.stringify(body))
    const method = body === undefined ? 'GET' : 'POST'
    seen.leave = simulator.receive({ method, rawUrl: path, headers: {}, body: bytes, ...more }, reply)
    return seen
  }
  const ask: Driven['ask'] = async (path, body, more) => {
    const seen = send(path, body, more)
    await clock.advance(3_600_000)
    return seen
  }
  return { simulator, clock, send, ask }
}

export function json({ body }: Pick<Seen, 'body'>): unknown {
  return JSON.parse(body.toString('utf8'))
}

/** The value at a path of keys and places; undefined where there is none. */
export function dig(value: unknown, ...path: (string | number)[]): unknown {
  return path.reduce<unknown>(
    (here, key) => (typeof here === 'object' && here !== null ? Reflect.get(here, key) : undefined),
    value,
  )
}

export interface Frame {
  headers: [string, string][]
  payload: unknown
  raw: string
}

const codec = new EventStreamCodec(
  bytes =>
    typeof bytes === 'string' ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(),
  text => Buffer.from(text),
)

/** AWS's own codec: throws where a length or a checksum is wrong. */
export function frames(bytes: Buffer): Frame[] {
  const out: Frame[] = []
  for (let at = 0; at < bytes.length; at += bytes.readUInt32BE(at)) {
    const message = codec.decode(bytes.subarray(at, at + bytes.readUInt32BE(at)))
    const raw = Buffer.from(message.body).toString('utf8')
    const headers = Object.entries(message.headers).map(([name, { value }]): [string, string] => [name, String(value)])
    out.push({ headers, payload: JSON.parse(raw), raw })
  }
  return out
}

/** The model's own JSON out of InvokeModel's chunks. */
export function chunks(bytes: Buffer): unknown[] {
  return frames(bytes).map(({ payload }) => unwrapped(payload))
}

export function unwrapped(payload: unknown): unknown {
  const bytes = dig(payload, 'bytes')
  return typeof bytes === 'string' ? JSON.parse(Buffer.from(bytes, 'base64').toString()) : payload
}

export interface Sent {
  event: string | undefined
  data: string
}

export function serverSent(body: Buffer): Sent[] {
  const blocks = body
    .toString('utf8')
    .split('\n\n')
    .filter(block => block !== '')
  return blocks.map(block => {
    const lines = block.split('\n')
    const field = (name: string) => lines.find(line => line.startsWith(`${name}: `))?.slice(name.length + 2)
    return { event: field('event'), data: field('data') ?? '' }
  })
}

export function userSays(text: string): { role: string; content: { text: string }[] }[] {
  return [{ role: 'user', content: [{ text }] }]
}
