// Random histories of shared calls over three replicas and a real Redis that falls silent now and then, one replica cut off
// from it half-way: each client hears all of one call, or the start of one and a visible failure.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RedisFlights } from '../../src/redis/flights.ts'
import { seededDice } from '../../src/simulator/dice.ts'
import { systemClock } from '../../src/system.ts'
import { type Client, type InnerCall, World } from '../gateway/sharedCalls.ts'
import { upLink } from '../support/redisLinks.ts'
import { startRedis } from '../support/redisServer.ts'
import { seeded } from '../support/seeds.ts'
import { until } from '../support/wire.ts'

const HISTORIES = 100
const STEPS = 40
const MOST_PAUSE_MS = 20

class History {
  readonly clients: Client[] = []
  readonly #gone = new Set<Client>()
  readonly #told = new Map<InnerCall, string>()
  readonly #over = new Set<InnerCall>()
  readonly #body: string
  readonly #worlds: World[]
  readonly #dice: () => number

  constructor(body: string, worlds: World[], dice: () => number) {
    this.#body = body
    this.#worlds = worlds
    this.#dice = dice
  }

  get #calls(): InnerCall[] {
    const all = this.#worlds.flatMap(world => world.calls)
    return all.filter(({ invocation }) => invocation.request.body.toString() === this.#body)
  }

  #live(): InnerCall[] {
    return this.#calls.filter(call => !call.isAbandoned && !this.#over.has(call))
  }

  #pick<T>(from: T[]): T | undefined {
    return from[Math.floor(this.#dice() * from.length)]
  }

  step(): void {
    const roll = this.#dice()
    const client = this.#pick(this.clients.filter(one => !one.finished && !this.#gone.has(one)))
    if (roll < 0.3) {
      const takes = this.#dice() < 0.3 ? Math.floor(this.#dice() * 3) : Number.POSITIVE_INFINITY
      const maxWaitMs = 200 + this.#dice() * 30_000
      this.clients.push(this.#pick(this.#worlds)!.start({ body: this.#body, takes, maxWaitMs }))
    } else if (roll < 0.4) {
      if (!client) return
      this.#gone.add(client)
      client.leave()
    } else if (roll < 0.5) {
      if (!client?.flow || client.ending) return
      client.takes = 2
      client.flow.resume()
    } else {
      const call = this.#pick(this.#live())
      if (call) this.#play(call, roll)
    }
  }

  #play(call: InnerCall, roll: number): void {
    const told = this.#told.get(call)
    if (told === undefined) {
      if (roll < 0.9) {
        this.#told.set(call, '')
        call.head()
        return
      }
      this.#over.add(call)
      call.refuse(roll < 0.95 ? 'wait-timeout' : 'upstream-unreachable')
    } else if (roll < 0.92) {
      const text = `${call.invocation.id}@${this.#worlds.findIndex(({ calls }) => calls.includes(call))}.${told.length} `
      this.#told.set(call, told + text)
      call.data(text)
    } else {
      this.#over.add(call)
      if (roll < 0.98) call.end()
      else call.cut()
    }
  }

  /** Everybody reads, every call ends. */
  async finish(): Promise<void> {
    const isDone = () => {
      for (const client of this.clients) {
        client.takes = Number.POSITIVE_INFINITY
        if (!client.ending && !this.#gone.has(client)) client.flow?.resume()
      }
      for (const call of this.#live()) {
        this.#over.add(call)
        if (!this.#told.has(call)) call.head()
        this.#told.set(call, this.#told.get(call) ?? '')
        call.end()
      }
      return this.clients.every(({ finished }) => finished !== undefined)
    }
    await until(isDone, `history ${this.#body} ends`, 15_000)
  }

  check(): void {
    const texts = [...this.#told.values()]
    for (const client of this.clients) {
      if (client.ending === 'whole') assert.ok(texts.includes(client.text), `not one answer: ${client.text}`)
      else assert.ok(client.text === '' || texts.some(text => text.startsWith(client.text)), client.text)
      assert.ok(client.ending !== undefined || this.#gone.has(client), 'every client that stays hears an end')
    }
    const led = this.clients.filter(({ finished }) => !finished!.coalesced).length
    assert.equal(led, this.#calls.length, 'one charge a call')
  }
}

test('whatever happens, each hears all of one call, or the start of one and a visible failure', {
  timeout: 120_000,
}, async t => {
  const redis = await startRedis()
  t.after(() => redis.stop())
  const { seed } = seeded(t, HISTORIES)
  const replicas = await Promise.all(
    [0, 1, 2].map(async i => {
      const link = await upLink(redis.url)
      const flights = new RedisFlights({ link, gateway: `gw${i}`, clock: systemClock })
      t.after(() => flights.stop())
      return { link, world: new World(flights, systemClock) }
    }),
  )
  const worlds = replicas.map(({ world }) => world)
  const run = async (number: number) => {
    const dice = seededDice(seed, number)
    const history = new History(`${number}`, worlds, dice)
    for (let step = 0; step < STEPS; step++) {
      history.step()
      await new Promise(resolve => setTimeout(resolve, dice() * MOST_PAUSE_MS))
      if (number > 0) continue
      if (step === STEPS / 4) redis.pause()
      if (step === STEPS / 4 + 8) redis.resume()
      if (step === STEPS / 2) await replicas[2]!.link.close()
    }
    await history.finish()
    return history
  }
  const histories = await Promise.all(Array.from({ length: HISTORIES }, (_, number) => run(number)))
  for (const history of histories) history.check()
  const clients = histories.flatMap(one => one.clients)
  const count = (test: (client: Client) => boolean) => clients.filter(test).length
  const figures = {
    clients: clients.length,
    calls: worlds.reduce((sum, { calls }) => sum + calls.length, 0),
    whole: count(({ ending }) => ending === 'whole'),
    cut: count(({ ending }) => ending === 'cut'),
    coalesced: count(({ finished }) => finished!.coalesced),
  }
  t.diagnostic(JSON.stringify(figures))
  assert.ok(figures.coalesced > figures.calls / 2, 'many shared')
  await until(() => worlds.every(({ kept }) => kept.bytes === 0), 'nothing is kept', 10_000)
})
