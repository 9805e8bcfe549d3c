// One random schedule of faults over the whole gateway, all of it from one seed: what is set, who asks for what and leaves when,
// what befalls which pool, reloads, a clock that is set. It runs out, and then nothing may be left of it.
import { SHUT } from '../../src/domain/pool.ts'
import type { Invocation } from '../../src/gateway/ports.ts'
import { readDemand } from '../../src/wire/demand.ts'
import { matchOperation } from '../../src/wire/operations.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { type Drawn, type DrawnRequest, drawSchedule, type Happening } from './faultDraw.ts'
import { VirtualBedrock } from './virtualBedrock.ts'
import { VirtualClient } from './virtualClient.ts'
import { Chance } from './virtualTime.ts'
import { WholeGateway } from './wholeGateway.ts'

/** From a ledger's decision to the end of its handler, through all layers, and some more. */
const TURNS = 30
const SAMPLE_MS = 250
/** All have ended by then: the longest deadline, answers as slow as they get, and their clients' own retries. */
const LONGEST_MS = 300_000
/** Gates that shut open again, paces arrive. */
const REST_MS = 900_000
const MOST_FAULTS = 5
/** A call that nobody wants any more is seen to the door within this. */
const LEAVES_WITHIN_MS = 100

export interface Figures {
  requests: number
  sends: number
  happenings: number
  answered: number
  refused: number
  cut: number
  left: number
  fallbacks: number
  coalesced: number
  throttles: number
  retries: number
  'breaker trips': number
}

export async function runSchedule(seed: number): Promise<{ faults: string[]; figures: Figures }> {
  const run = new ScheduleRun(seed)
  await run.play()
  return { faults: run.faults.slice(0, MOST_FAULTS), figures: run.figures() }
}

class ScheduleRun {
  readonly faults: string[] = []
  readonly #fault: (what: string) => void
  readonly #time = new VirtualClock(undefined, TURNS)
  readonly #startMs = this.#time.nowMs()
  readonly #drawn: Drawn
  readonly #bedrock: VirtualBedrock
  readonly #whole: WholeGateway
  readonly #clients = new Map<string, VirtualClient>()
  /** Who asked for the same. */
  readonly #sharing = new Map<string, VirtualClient[]>()
  /** By ticket. */
  readonly #sends = new Map<string, number>()
  /** Asked, and not yet ended. */
  #open = 0
  #sent = 0

  constructor(seed: number) {
    this.#drawn = drawSchedule(seed)
    const fault = (what: string) => void this.faults.push(`${this.#time.nowMs() - this.#startMs} ms: ${what}`)
    const dice = new Chance(seed, 2).next
    this.#bedrock = new VirtualBedrock({
      time: this.#time,
      dice,
      onSend: (pool, { headers, operation }) => this.#countSend(pool.name, headers[1]!, operation.metered),
      onFailure: ({ headers }) => this.#clients.get(headers[1]!)?.happened('failure'),
    })
    const { live, retries, stages } = this.#drawn
    this.#whole = new WholeGateway({
      time: this.#time,
      dice: new Chance(seed, 3).next,
      live: { ...live },
      retries,
      stages,
      upstream: clock => this.#bedrock.upstream(clock),
      fault,
    })
    this.#fault = fault
  }

  async play(): Promise<void> {
    const { requests, happenings, overMs } = this.#drawn
    for (const happening of happenings) this.#time.after(happening.atMs, () => this.#happen(happening))
    for (const request of requests) this.#time.after(request.atMs, () => void this.#ask(request, 0))
    for (let ms = 0; ms < overMs || (this.#open > 0 && ms < LONGEST_MS); ms += SAMPLE_MS) {
      if (ms > overMs) this.#bedrock.timeOut()
      await this.#advance(SAMPLE_MS)
      this.#sample()
    }
    await this.#advance(REST_MS)
    this.#atRest()
  }

  /** To where all that was set off by then has come to its end. */
  async #advance(ms: number): Promise<void> {
    await this.#time.advance(ms)
    for (let i = 0; i < 100; i++) await Promise.resolve()
  }

  #happen({ pools, change, trick, reload, setClockMs }: Happening): void {
    for (const pool of pools) {
      if (change) this.#bedrock.simulator(pool).apply(change)
      if (trick === 'none') this.#bedrock.tricks.delete(pool)
      else if (trick) this.#bedrock.tricks.set(pool, trick)
    }
    if (reload) this.#whole.configure(reload)
    if (setClockMs !== undefined) this.#whole.clock.aheadMs += setClockMs
  }

  async #ask(asked: DrawnRequest, again: number): Promise<void> {
    const id = `${asked.id}${'r'.repeat(again)}`
    const { pausesMs, leaving } = asked
    const client = new VirtualClient(id, { time: this.#time, pausesMs, leaving, fault: this.#fault })
    this.#clients.set(id, client)
    client.happened('arrival')
    this.#open += 1
    const invocation = this.#invocation(asked, client)
    const key = `${invocation.request.rawUrl} ${asked.body}`
    this.#sharing.set(key, [...(this.#sharing.get(key) ?? []), client])
    const lines = this.#whole.finished.length
    try {
      await this.#whole.book.handle(invocation, client)
      const line = this.#whole.finished.slice(lines).find(run => run.id === id || run.id.startsWith(`${id}-`))
      if (line) client.over(line, invocation)
      else this.#fault(`${id} has no line`)
    } catch (error) {
      this.#fault(`${id} rejected: ${error instanceof Error ? error.stack : error}`)
    }
    this.#open -= 1
    const overdueMs = this.#time.nowMs() - this.#wantedUntilMs(client, invocation) - LEAVES_WITHIN_MS
    if (overdueMs > 0) this.#fault(`${id} has left, and is seen to for ${overdueMs} ms more`)
    const isToRepeat = client.hasLeft || client.refusal?.retryAfterMs !== undefined || (client.status ?? 200) >= 429
    if (again < asked.sdkRetries && isToRepeat)
      this.#time.after(asked.sdkPauseMs, () => void this.#ask(asked, again + 1))
  }

  /** When it left, and the last who may have shared its call has left or been answered. */
  #wantedUntilMs(client: VirtualClient, { model, demand, request }: Invocation): number {
    const nowMs = this.#time.nowMs()
    const key = `${request.rawUrl} ${request.body}`
    const sharing = model?.coalesce === 'off' || !demand ? [] : this.#sharing.get(key)!
    return Math.max(client.leftMs ?? nowMs, ...sharing.map(one => one.leftMs ?? one.overMs ?? nowMs))
  }

  #invocation(asked: DrawnRequest, client: VirtualClient): Invocation {
    const model = this.#drawn.live.models.find(one => one.name === asked.model)!
    const modelId = model.modelIds[0]!
    const rawUrl = `/model/${encodeURIComponent(modelId)}/${asked.operation}`
    const match = matchOperation('POST', rawUrl)
    if (match.kind !== 'found') throw new Error(`no route ${rawUrl}`)
    const { operation } = match.route
    const read = readDemand(operation, asked.body)
    if (read.kind === 'malformed') throw new Error(read.message)
    const { id, presence } = client
    return {
      id,
      model,
      ...(operation.metered && { demand: read.demand }),
      flow: asked.flow,
      maxWaitMs: asked.maxWaitMs,
      ...(asked.sdkRetries > 0 && { sdkInvocationId: `sdk-${asked.id}` }),
      request: { operation, modelId, rawUrl, headers: ['x-id', id], body: asked.body },
      presence,
      granted: () => client.happened('turn'),
    }
  }

  /** A metered call needs a turn, in that pool, and has only so many tries. */
  #countSend(pool: string, id: string, isMetered: boolean): void {
    this.#sent += 1
    let ticket = id
    if (isMetered) {
      const held = [...this.#whole.rooms.values()].flatMap(room => [...room.turns])
      const turn = held.find(([one, where]) => where === pool && (one === id || one.startsWith(`${id}-`)))
      if (!turn) this.#fault(`${id} is sent to ${pool} without a turn there`)
      else ticket = turn[0]
    }
    const sends = (this.#sends.get(ticket) ?? 0) + 1
    this.#sends.set(ticket, sends)
    if (sends > this.#drawn.retries.maxAttempts) this.#fault(`${ticket} is sent ${sends} times`)
  }

  #sample(): void {
    const { rooms, sends, book, kept, clock } = this.#whole
    const nowMs = this.#time.nowMs() + this.#whole.clock.aheadMs
    for (const [name, { keeper, turns }] of rooms) {
      const { classes, clients, reserved } = keeper.room.snapshot(100, nowMs)
      const waiting = classes.reduce((sum, one) => sum + one.waiting, 0)
      if ([...classes, ...clients].some(one => one.waiting < 0)) this.#fault(`${name}: fewer than nobody waits`)
      if (reserved !== turns.size) this.#fault(`${name}: ${reserved} reservations for ${turns.size} turns`)
      // A clock set forward makes orphans of tickets whose owner is still there, until its own timer says so.
      const isSound = this.#drawn.setsClock ? waiting <= keeper.waiting : waiting === keeper.waiting
      if (!isSound) this.#fault(`${name}: ${waiting} wait in the room, ${keeper.waiting} in the process`)
    }
    const { sending, waiting } = sends.depth
    const { depth, limit } = sends.reading()
    if (sending < 0 || waiting < 0 || depth > limit) this.#fault(`the send stage has ${sending} and ${waiting} waiting`)
    if (book.inFlight !== this.#open) this.#fault(`the book says ${book.inFlight} in flight, there are ${this.#open}`)
    for (const [owner, timers] of clock.live) {
      // A room has one timer to wake up by, and one for each who waits; all others one for each request at most.
      const waiting = [...rooms.values()].reduce((sum, { keeper }) => sum + keeper.waiting + 1, 0)
      const most = owner === 'room' ? waiting : owner === 'control' ? rooms.size : this.#open
      if (timers > most) this.#fault(`${timers} timers of ${owner}, more than ${most}`)
    }
    if (kept.bytes < 0) this.#fault(`${kept.bytes} bytes kept for shared calls`)
  }

  #atRest(): void {
    this.#sample()
    const { rooms, sends, book, kept, clock, answers, estimates, finished, rescued } = this.#whole
    const expect = (what: string, is: unknown, wanted: unknown) => {
      if (JSON.stringify(is) !== JSON.stringify(wanted))
        this.#fault(`at rest ${what} is ${JSON.stringify(is)}, not ${JSON.stringify(wanted)}`)
    }
    expect('requests open', this.#open, 0)
    expect('the book', book.inFlight, 0)
    expect('the send stage', sends.depth, { sending: 0, waiting: 0 })
    expect('what shared calls keep', kept.bytes, 0)
    for (const [name, { keeper, turns, asks, granted, ended }] of rooms) {
      expect(`waiting for ${name}`, keeper.waiting, 0)
      expect(`turns of ${name}`, [turns.size, asks.size], [0, 0])
      expect(`turns ended of ${name}`, ended, granted)
      const shut = keeper.room.pools.filter(({ gate }) => gate === SHUT).map(pool => pool.name)
      expect(`shut pools of ${name}`, shut, [])
    }
    const timers = [...clock.live].filter(([, count]) => count !== 0)
    expect('timers left', timers, [])
    expect('answers kept within bounds', answers.bytes >= 0 && answers.bytes <= 32 * 1024, true)
    for (const [model, estimate] of estimates)
      for (const bytes of [100, 1_500, 6_000, 25_000, 100_000, 1e6]) {
        const perToken = estimate.bytesPerToken(bytes)
        expect(`the estimate of ${model}`, perToken >= 0.5 && perToken <= 10, true)
      }
    expect('lines', finished.length, this.#clients.size)
    const attempts = [...finished, ...rescued].reduce((sum, run) => sum + run.attempts, 0)
    expect('sends in all lines', attempts, this.#sent)
    for (const [id, client] of this.#clients) {
      const isAnswered = ['whole', 'cut', 'refused'].includes(client.state)
      if (!isAnswered && !client.hasLeft) this.#fault(`client ${id} is ${client.state}, and still there`)
    }
    this.#whole.close()
  }

  figures(): Figures {
    const { finished, rescued, fellBack, events } = this.#whole
    const lines = [...finished, ...rescued]
    const count = (outcome: string) => finished.filter(run => run.outcome === outcome).length
    return {
      requests: this.#clients.size,
      sends: this.#sent,
      happenings: this.#drawn.happenings.length,
      answered: count('answered'),
      refused: count('refused'),
      cut: count('cut'),
      left: count('aborted'),
      fallbacks: fellBack.length,
      coalesced: finished.filter(run => run.coalesced).length,
      throttles: lines.reduce((sum, run) => sum + run.throttledBy.length, 0),
      retries: lines.reduce((sum, run) => sum + run.retries, 0),
      'breaker trips': events.filter(event => event.kind === 'breaker' && event.to === 'shut').length,
    }
  }
}
