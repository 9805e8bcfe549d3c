// The use case in virtual time, over the real memory ledger and an upstream that follows a script.
import type { Usage } from '../../src/domain/charge.ts'
import { InputEstimate } from '../../src/domain/estimate.ts'
import type { ModelSettings, PoolSettings } from '../../src/domain/model.ts'
import { Book } from '../../src/gateway/book.ts'
import type { ControlLoop } from '../../src/gateway/controlLoop.ts'
import { Gateway, type Retry } from '../../src/gateway/gateway.ts'
import type {
  Answer,
  Finished,
  Invocation,
  Ledger,
  Notes,
  Receiver,
  ThrottleSubject,
  Upstream,
} from '../../src/gateway/ports.ts'
import type { Presence } from '../../src/gateway/presence.ts'
import { Unattended } from '../../src/gateway/unattended.ts'
import { createMemoryLedger } from '../../src/memory/ledger.ts'
import { matchOperation, type Operation } from '../../src/wire/operations.ts'
import { PLAIN } from './models.ts'
import { pushbackParts, type Surroundings } from './pushback.ts'
import { VirtualClock } from './virtualClock.ts'

/** What the upstream does with one send, each step after a while. */
export type Behaviour =
  | { kind: 'answers'; status: number; usage: Usage | undefined; afterMs: number; takesMs: number }
  | { kind: 'throttles'; afterMs: number; of?: ThrottleSubject }
  | { kind: 'errors'; status: number; afterMs: number; headers?: string[] }
  | { kind: 'fails'; sent: boolean; afterMs: number }
  | { kind: 'cuts'; afterMs: number; takesMs: number }
  | { kind: 'stalls' }
  /** Finds no connection, for ever. */
  | { kind: 'queues' }

const POOL: PoolSettings = { name: 'only', region: 'us-east-1', tokensPerMinute: 600_000, requestsPerMinute: 600 }
const MODEL: ModelSettings = {
  name: 'm',
  modelIds: ['*'],
  outputBurndown: 5,
  maxOutputTokens: 100,
  bytesPerToken: 3.5,
  pools: [POOL],
  ...PLAIN,
}
const ADMISSION = { burst: 0.05, maxWaiting: 1_000, maxWaitingPerClient: 1_000 }
/** What each metered call reserves. */
export const RESERVED = 200

interface Setting extends Partial<Pick<Surroundings, 'retries' | 'stages' | 'dice' | 'onRefused'>> {
  /** Each as the default pool. */
  pools?: string[]
  control?: (clock: VirtualClock) => ControlLoop
  /** Calls that may run on without their client. */
  unattended?: number
}

interface Call {
  maxWaitMs?: number
  metered?: boolean
  path?: string
}

export class VirtualGateway {
  readonly clock = new VirtualClock()
  readonly finished: Finished[] = []
  readonly settlements = new Map<string, number[]>()
  /** What each requeue said was charged. */
  readonly requeued: (number | undefined)[] = []
  /** Where and when each call went. */
  readonly sent: { pool: string; atMs: number }[] = []
  readonly retries: Retry[] = []
  readonly ledger: Ledger
  readonly book: Book
  readonly sends: ReturnType<typeof pushbackParts>['sends']
  abandoned = 0
  readonly #model: ModelSettings

  constructor(
    script: (send: number) => Behaviour,
    { pools = ['only'], control, dice, unattended = 0, ...pushback }: Setting = {},
  ) {
    this.#model = { ...MODEL, pools: pools.map(name => ({ ...POOL, name })) }
    const inner = createMemoryLedger([this.#model], ADMISSION, this.clock)
    this.ledger = {
      acquire: (ask, presence) => inner.acquire(ask, presence),
      requeue: (ask, presence, charged) => {
        this.requeued.push(charged)
        return inner.requeue(ask, presence, charged)
      },
      settle: (ask, charged) => {
        this.settlements.set(ask.ticketId, [...(this.settlements.get(ask.ticketId) ?? []), charged])
        inner.settle(ask, charged)
      },
      configure: (models, admission) => inner.configure(models, admission),
      status: () => inner.status(),
      report: (model, news) => inner.report(model, news),
      steer: (model, steering) => inner.steer(model, steering),
      health: () => inner.health(),
    }
    const parts = pushbackParts({ clock: this.clock, dice: dice ?? (() => 0.5), ...pushback })
    this.sends = parts.sends
    const loops = control?.(this.clock)
    const gateway = new Gateway({
      ...parts,
      ...(loops && { control: loops }),
      unattended: new Unattended(unattended, this.clock),
      ledger: this.ledger,
      upstream: this.#upstream(script),
      clock: this.clock,
      estimates: new Map([['m', new InputEstimate(3.5)]]),
      weightOf: () => 1,
      poolOf: (_model, pool) => this.#model.pools.find(one => one.name === pool),
      unmeteredPool: () => this.#model.pools[0]!,
      onRetry: retry => void this.retries.push(retry),
    })
    this.book = new Book(gateway, { finished: run => this.finished.push({ ...run }) })
  }

  #upstream(script: (send: number) => Behaviour): Upstream {
    return {
      send: (pool, _request, receiver) => {
        this.sent.push({ pool: pool.name, atMs: this.clock.nowMs() })
        const behaviour = script(this.sent.length - 1)
        const cancels = play(this.clock, behaviour, receiver)
        return {
          isSent: behaviour.kind !== 'queues',
          abandon: () => {
            this.abandoned += 1
            for (const cancel of cancels) cancel()
          },
        }
      },
    }
  }

  call(id: string, presence: Presence, call: Call = {}): { answer: Recorder; over: Promise<void> } {
    const { maxWaitMs = 30_000, metered = true, path = '/model/m/converse' } = call
    const answer = new Recorder()
    const invocation: Invocation = {
      id,
      ...(metered && { model: this.#model, demand: { textBytes: 350, mediaTokens: 0, answers: 1 } }),
      flow: { priority: 'normal', client: 'open', user: 'ann' },
      maxWaitMs,
      request: { operation: operationAt(path), rawUrl: path, headers: [], body: Buffer.alloc(0) },
      presence,
    }
    return { answer, over: this.book.handle(invocation, answer) }
  }
}

function operationAt(path: string): Operation {
  const match = matchOperation('POST', path)
  if (match.kind !== 'found') throw new Error(path)
  return match.route.operation
}

/** What a client would see. */
export class Recorder implements Answer {
  readonly said: string[] = []
  notes: Notes | undefined
  head(status: number, _headers: string[], notes: Notes): void {
    this.said.push(`head ${status}`)
    this.notes = notes
  }
  data(): void {
    this.said.push('data')
  }
  end(): void {
    this.said.push('end')
  }
  cut(): void {
    this.said.push('cut')
  }
  refuse(refusal: { code: string }): void {
    this.said.push(`refuse ${refusal.code}`)
  }
}

function play(clock: VirtualClock, behaviour: Behaviour, receiver: Receiver): (() => void)[] {
  const flow = { pause() {}, resume() {} }
  const refusal = { code: 'upstream-cut', message: 'x' } as const
  if (behaviour.kind === 'stalls' || behaviour.kind === 'queues') return []
  if (behaviour.kind === 'throttles') {
    const reply = { status: 429, headers: [], body: Buffer.from('x') }
    return [clock.after(behaviour.afterMs, () => receiver.throttled(reply, behaviour.of ?? 'tokens'))]
  }
  if (behaviour.kind === 'errors') {
    const reply = { status: behaviour.status, headers: behaviour.headers ?? [], body: Buffer.from('x') }
    return [clock.after(behaviour.afterMs, () => receiver.errored(reply))]
  }
  if (behaviour.kind === 'fails')
    return [clock.after(behaviour.afterMs, () => receiver.failed(refusal, behaviour.sent))]
  const overMs = behaviour.afterMs + behaviour.takesMs
  const status = behaviour.kind === 'answers' ? behaviour.status : 200
  return [
    clock.after(behaviour.afterMs, () => receiver.head(status, [], flow)),
    clock.after(overMs, () => {
      receiver.data(Buffer.from('x'))
      if (behaviour.kind === 'answers') receiver.end(behaviour.usage)
      else receiver.failed(refusal, true)
    }),
  ]
}
