// One client in virtual time, that holds its answer to what an answer is: a head, bytes and an end, or a cut; or a refusal; or
// nothing any more once it has left. Some read slowly, some leave at the worst moment.

import type { Refusal } from '../../src/domain/refusal.ts'
import type { Answer, Finished, FlowControl, Invocation, Notes } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import type { VirtualClock } from '../support/virtualClock.ts'
import { UNWRITABLE } from './virtualBedrock.ts'

/** When a client leaves: so long after it came, or after something has happened to its request. */
export interface Leaving {
  on: 'arrival' | 'turn' | 'failure' | 'head' | 'data'
  afterMs: number
}

export interface ClientParts {
  time: VirtualClock
  leaving: Leaving | undefined
  /** How long it pauses after each chunk it reads; 0: it keeps up. */
  pausesMs: number
  fault: (what: string) => void
}

const FRAME_OVERHEAD = 16

export class VirtualClient implements Answer {
  readonly presence = new Presence()
  readonly id: string
  state: 'waiting' | 'answering' | 'whole' | 'cut' | 'refused' = 'waiting'
  status: number | undefined
  notes: Notes | undefined
  refusal: Refusal | undefined
  leftMs: number | undefined
  overMs: number | undefined
  readonly #parts: ClientParts
  readonly #chunks: Buffer[] = []
  #flow: FlowControl = { pause() {}, resume() {} }
  #isStream = false
  #length: number | undefined

  constructor(id: string, parts: ClientParts) {
    this.id = id
    this.#parts = parts
  }

  get hasLeft(): boolean {
    return this.leftMs !== undefined
  }

  get isOver(): boolean {
    return this.overMs !== undefined
  }

  /** What it asked for has reached this point. */
  happened(what: Leaving['on']): void {
    const { leaving, time } = this.#parts
    if (leaving?.on === what) time.after(leaving.afterMs, () => this.leave())
  }

  leave(): void {
    if (this.hasLeft || this.isOver) return
    this.leftMs = this.#parts.time.nowMs()
    this.presence.leave()
  }

  head(status: number, headers: string[], notes: Notes, flow: FlowControl): void {
    this.#expect('waiting', 'a head')
    if (headers.includes(UNWRITABLE)) throw new TypeError('no such header can be written')
    this.state = 'answering'
    this.status = status
    this.notes = notes
    this.#isStream = headers.some(part => part.includes('vnd.amazon.eventstream'))
    const at = headers.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === 'content-length')
    this.#length = at < 0 ? undefined : Number(headers[at + 1])
    this.#flow = flow
    this.happened('head')
  }

  data(chunk: Buffer): void {
    this.#expect('answering', 'bytes')
    this.#chunks.push(Buffer.from(chunk))
    this.happened('data')
    const { pausesMs, time } = this.#parts
    if (pausesMs === 0) return
    const flow = this.#flow
    flow.pause()
    time.after(pausesMs, () => flow.resume())
  }

  end(): void {
    this.#expect('answering', 'an end')
    this.state = 'whole'
    this.#checkBytes()
  }

  cut(): void {
    this.#expect('answering', 'a cut')
    this.state = 'cut'
  }

  refuse(refusal: Refusal, notes?: Notes): void {
    this.#expect('waiting', `the refusal ${refusal.code}`)
    this.state = 'refused'
    this.refusal = refusal
    this.notes = notes
  }

  /** Its line in the log says what it saw. */
  over(run: Finished, invocation: Invocation): void {
    if (this.isOver) this.#fault('is written down twice')
    this.overMs = this.#parts.time.nowMs()
    const { outcome } = run
    const saw = { answered: 'whole', refused: 'refused', cut: 'cut', aborted: 'left', rescued: 'never' }[outcome]
    const isSeen = saw === this.state || (this.hasLeft && (saw === 'left' || this.state === 'waiting'))
    if (!isSeen)
      this.#fault(
        `saw ${this.state} ${this.refusal?.code ?? ''}${this.hasLeft ? ', left' : ''}, its line says ${outcome}`,
      )
    if (outcome === 'answered' && this.state === 'whole' && run.status !== this.status)
      this.#fault(`saw ${this.status}, its line says ${run.status}`)
    const figures = [
      run.waitMs,
      run.totalMs,
      run.chargedTokens,
      run.reservedTokens,
      run.attempts,
      run.retries,
      run.firstByteMs ?? 0,
    ]
    if (!figures.every(figure => figure >= 0 && Number.isFinite(figure))) this.#fault(`has the figures ${figures}`)
    if (run.id !== invocation.id && !run.fallback) this.#fault(`has the line of ${run.id}`)
  }

  #checkBytes(): void {
    const bytes = Buffer.concat(this.#chunks)
    if (this.#length !== undefined && this.#length !== bytes.length)
      this.#fault(`was promised ${this.#length} bytes, got ${bytes.length}`)
    if (!this.#isStream) {
      JSON.parse(bytes.toString())
      return
    }
    let at = 0
    while (at + FRAME_OVERHEAD <= bytes.length) at += Math.max(FRAME_OVERHEAD, bytes.readUInt32BE(at))
    if (at !== bytes.length || at === 0) this.#fault(`got a stream of ${bytes.length} bytes that ends inside a frame`)
  }

  #expect(state: VirtualClient['state'], what: string): void {
    if (this.hasLeft) this.#fault(`has left, and is given ${what}`)
    if (this.state !== state) this.#fault(`is given ${what} while ${this.state}`)
  }

  #fault(what: string): void {
    this.#parts.fault(`client ${this.id} ${what}`)
  }
}
