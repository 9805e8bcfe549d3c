import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MOST_POOLS } from '../../src/config/modelSchema.ts'
import { OPEN_TO_ALL, SHUT } from '../../src/domain/pool.ts'
import { MOST_STATE, noCounts, type PoolCounts, type PoolReport } from '../../src/domain/poolReport.ts'
import { type SteeringEvent, type SteeringSettings, standings, steer } from '../../src/domain/steering.ts'
import { AIMD, BREAKER } from '../support/pushback.ts'
import { seeded } from '../support/seeds.ts'

const NOTHING = noCounts()
const SETTINGS: SteeringSettings = {
  pace: 'adaptive',
  aimd: AIMD,
  breaker: BREAKER,
  pools: [{ name: 'p', requestsPerMinute: 600, tokensPerMinute: 600_000 }],
}
const START_MS = 1_000_000
const dice = () => 0

type News = Partial<PoolCounts> & Partial<Omit<PoolReport, 'counts'>>

function report({ pool = 'p', failedInRow = 0, gate = OPEN_TO_ALL, limited, fill, ...counts }: News = {}): PoolReport {
  return {
    pool,
    counts: { ...NOTHING, ...counts },
    failedInRow,
    gate,
    limited: limited ?? { requests: false, tokens: false },
    fill: fill ?? { requests: 1, tokens: 1 },
  }
}

/** Steps of 250 ms; what each told is kept. */
class Loop {
  state = ''
  nowMs = START_MS
  settings: SteeringSettings
  events: SteeringEvent[] = []
  told: {
    believed: { requestsPerMinute?: number | undefined; tokensPerMinute?: number | undefined }
    gate?: number
  }[] = []

  constructor(settings: Partial<SteeringSettings> = {}) {
    this.settings = { ...SETTINGS, ...settings }
  }

  step(news: News = {}, elapsedMs = 250): this {
    return this.steps([report(news)], elapsedMs)
  }

  steps(reports: PoolReport[], elapsedMs = 250): this {
    this.nowMs += elapsedMs
    const { steering, events } = steer(this.state, reports, this.settings, this.nowMs, dice)
    this.state = steering.state
    this.events.push(...events)
    this.told.push(...steering.pools)
    return this
  }

  pool(name = 'p') {
    return standings(this.state, this.settings, this.nowMs).find(one => one.pool === name)!
  }

  cuts(): string[] {
    return this.events.flatMap(event => (event.kind === 'cut' ? [event.dimension] : []))
  }
}

test('before the first step the config is believed', () => {
  const { pace, breaker, binding } = new Loop().pool()
  assert.equal(pace.requests!.pacedPerMinute, 600)
  assert.equal(pace.tokens!.believedPerMinute, 600_000)
  assert.deepEqual([breaker.state, binding.binds], ['closed', 'neither'])
})

test('a throttle cuts the dimension it names, and the event tells from what to what', () => {
  const loop = new Loop().step({ throttledTokens: 2, accepted: 1 })
  assert.deepEqual(loop.events, [
    { kind: 'cut', pool: 'p', dimension: 'tokens', fromPerMinute: 600_000, toPerMinute: 510_000 },
  ])
  assert.deepEqual(loop.told.at(-1)!.believed, { requestsPerMinute: 600, tokensPerMinute: 510_000 })
  assert.equal(loop.pool().pace.tokens!.cuts, 1)
})

test('throttles that name no dimension cut that of the emptier bucket alone', () => {
  const unclear = { throttledUnclear: 3, accepted: 1 }
  assert.deepEqual(new Loop().step({ ...unclear, fill: { requests: 0.1, tokens: 0.4 } }).cuts(), ['requests'])
  assert.deepEqual(new Loop().step({ ...unclear, fill: { requests: 0.9, tokens: -2 } }).cuts(), ['tokens'])
})

test('a dimension without a quota has no law: unclear throttles are the other one’s, and nothing is believed of it', () => {
  const pools = [{ name: 'p', tokensPerMinute: 600_000 }]
  const loop = new Loop({ pools }).step({ throttledUnclear: 1, accepted: 1, fill: { requests: 0, tokens: 1 } })
  assert.deepEqual(loop.cuts(), ['tokens'])
  assert.deepEqual(loop.told.at(-1)!.believed, { tokensPerMinute: 510_000 })
  const unlimited = new Loop({ pools: [{ name: 'p' }] }).step({ throttledUnclear: 1, throttledTokens: 1, accepted: 1 })
  assert.deepEqual([unlimited.cuts(), unlimited.told.at(-1)!.believed], [[], {}])
})

test('`off` believes the config whatever happens; `aimd` halves', () => {
  const off = new Loop({ pace: 'off' }).step({ throttledRequests: 5, accepted: 1 })
  assert.deepEqual([off.cuts(), off.told[0]!.believed.requestsPerMinute], [[], 600])
  const aimd = new Loop({ pace: 'aimd' }).step({ throttledRequests: 5, accepted: 1 })
  assert.equal(aimd.told.at(-1)!.believed.requestsPerMinute, 300)
})

test('what is believed is told when it changes, and every five seconds in any case', () => {
  const loop = new Loop().step()
  assert.equal(loop.told.length, 1)
  for (let i = 0; i < 19; i++) loop.step()
  assert.equal(loop.told.length, 1)
  loop.step()
  assert.equal(loop.told.length, 2)
  loop.step({ throttledRequests: 1, accepted: 1 })
  assert.equal(loop.told.length, 3)
  assert.ok(loop.told.every(one => one.gate === undefined))
})

test('growth too small to tell at once adds up until it is told: never more than a thousandth behind', () => {
  const loop = new Loop().step()
  for (let i = 0; i < 400; i++) {
    loop.step({ accepted: 3, limited: { requests: true, tokens: false } })
    const { pacedPerMinute } = loop.pool().pace.requests!
    assert.ok(Math.abs(loop.told.at(-1)!.believed.requestsPerMinute! / pacedPerMinute - 1) <= 0.001 + 1e-9)
  }
  assert.ok(loop.pool().pace.requests!.believedPerMinute > 615)
})

test('the gate is told at transitions only, each with its event, and the learned rate outlives the outage', () => {
  const loop = new Loop().step({ throttledRequests: 1, accepted: 1 })
  loop.step({ failed: 5, failedInRow: 5, gate: OPEN_TO_ALL })
  assert.equal(loop.told.at(-1)!.gate, SHUT)
  const { breaker } = loop.pool()
  assert.deepEqual(breaker, { state: 'shut', sinceMs: loop.nowMs, opensInMs: 5_000, reason: 'failures-in-row' })
  const [later] = standings(loop.state, loop.settings, loop.nowMs + 0.25)
  assert.equal(later!.breaker.opensInMs, 5_000, 'a whole number, never too early')
  loop.step({ gate: SHUT }).step({ gate: SHUT }, 5_000)
  assert.equal(loop.told.at(-1)!.gate, 1)
  for (const probes of [1, 3, 10]) loop.step({ gate: SHUT, succeeded: probes, accepted: probes })
  assert.deepEqual(
    loop.events.flatMap(event => (event.kind === 'breaker' ? [`${event.from}>${event.to} ${event.reason}`] : [])),
    ['closed>shut failures-in-row', 'shut>half-open shut-time-over', 'half-open>ramping probes-succeeded'],
  )
  assert.deepEqual(loop.told.at(-1), {
    pool: 'p',
    believed: { requestsPerMinute: 0.25 * 510, tokensPerMinute: 0.25 * 600_000 },
    failures: 5,
    gate: OPEN_TO_ALL,
  })
  assert.equal(loop.pool().pace.requests!.believedPerMinute, 510)
})

test('while it ramps, that the bucket was the limit is no reason to grow', () => {
  const loop = new Loop().step({ failed: 5, failedInRow: 5 }).step({ gate: SHUT }, 5_000)
  for (const probes of [1, 3, 10]) loop.step({ gate: SHUT, succeeded: probes })
  for (let i = 0; i < 40; i++) loop.step({ accepted: 5, limited: { requests: true, tokens: true } })
  assert.equal(loop.pool().breaker.state, 'ramping')
  assert.equal(loop.pool().pace.requests!.believedPerMinute, 600)
  for (let i = 0; i < 120; i++) loop.step({ accepted: 5, limited: { requests: true, tokens: true } })
  assert.ok(loop.pool().pace.requests!.believedPerMinute > 600)
})

test('probes are not slowed down by the back-off of the throttles that led to them', () => {
  const loop = new Loop()
  for (let i = 0; i < 6; i++) loop.step({ throttledRequests: 3 }, 2_500)
  assert.equal(loop.pool().breaker.state, 'shut')
  const { believedPerMinute, pacedPerMinute, isBackingOff } = loop.pool().pace.requests!
  assert.deepEqual([isBackingOff, pacedPerMinute], [true, believedPerMinute])
})

test('another quota in the config starts that dimension anew, and the other one keeps what it learned', () => {
  const loop = new Loop().step({ throttledRequests: 1, throttledTokens: 1, accepted: 1 })
  loop.settings = { ...SETTINGS, pools: [{ name: 'p', requestsPerMinute: 1_200, tokensPerMinute: 600_000 }] }
  loop.step()
  assert.deepEqual(loop.told.at(-1)!.believed, { requestsPerMinute: 1_200, tokensPerMinute: 510_000 })
  assert.deepEqual([loop.pool().pace.requests!.cuts, loop.pool().pace.tokens!.cuts], [0, 1])
})

test('another law starts anew', () => {
  const loop = new Loop().step({ throttledRequests: 1, accepted: 1 })
  loop.settings = { ...SETTINGS, pace: 'aimd' }
  assert.equal(loop.step().pool().pace.requests!.believedPerMinute, 600)
})

test('pools come and go; one that no report names stays as it was', () => {
  const loop = new Loop().step({ throttledRequests: 1, accepted: 1 })
  loop.settings = { ...SETTINGS, pools: [...SETTINGS.pools, { name: '__proto__', requestsPerMinute: 60 }] }
  loop.steps([report(), report({ pool: '__proto__', throttledRequests: 1, accepted: 1 }), report({ pool: 'unknown' })])
  assert.equal(loop.pool('__proto__').pace.requests!.believedPerMinute, 51)
  loop.steps([report({ pool: '__proto__' })])
  assert.equal(loop.pool().pace.requests!.believedPerMinute, 510)
  loop.settings = SETTINGS
  loop.step()
  assert.deepEqual(
    standings(loop.state, loop.settings, loop.nowMs).map(one => one.pool),
    ['p'],
  )
  assert.ok(!loop.state.includes('__proto__'))
})

test('a clock that steps back far neither throws nor stops the telling', () => {
  const loop = new Loop().step({ throttledRequests: 1, accepted: 1 })
  loop.step({}, -900_000).step({ accepted: 1 }, 1_000).step({ throttledRequests: 1 }, 250)
  assert.equal(loop.pool().pace.requests!.cuts, 2)
  assert.equal(loop.pool().pace.tokens!.quietS, 0)
  assert.ok(loop.told.length >= 3)
})

test('the diagnosis says which quota binds, from what the reports said', () => {
  const loop = new Loop()
  for (let i = 0; i < 240; i++)
    loop.step({ sent: 1, tokens: 2_500, accepted: 1, limited: { requests: false, tokens: true } })
  const { binding } = loop.pool()
  assert.equal(binding.binds, 'tokens')
  assert.ok(binding.tokens!.ofConfigured > 0.95 && binding.tokens!.ofBelieved < binding.tokens!.ofConfigured)
  assert.ok(binding.requests!.ofConfigured < 0.45)
})

const counts = fc.record({
  sent: fc.nat(100),
  accepted: fc.nat(30),
  throttledRequests: fc.nat(2),
  throttledTokens: fc.nat(2),
  throttledUnclear: fc.nat(2),
  succeeded: fc.nat(5),
  failed: fc.oneof(fc.constant(0), fc.nat(6)),
  unheard: fc.nat(2),
  tokens: fc.integer({ min: -50_000, max: 50_000 }),
})
const step = fc.record({
  counts,
  failedInRow: fc.nat(8),
  gate: fc.constantFrom(OPEN_TO_ALL, OPEN_TO_ALL, SHUT, 1, 7),
  limited: fc.record({ requests: fc.boolean(), tokens: fc.boolean() }),
  fill: fc.record({
    requests: fc.double({ min: -5, max: 1, noNaN: true }),
    tokens: fc.double({ min: -5, max: 1, noNaN: true }),
  }),
  elapsedMs: fc.oneof(fc.constant(250), fc.integer({ min: -100_000, max: 100_000 })),
})

/** Anything that a step might find where it left its state. */
function damaged(text: string, at: number, value: unknown): string {
  let place = 0
  return JSON.stringify(JSON.parse(text), (_key, one) => (place++ === at ? value : one))
}

test('whatever stands in the state, a step neither throws nor believes in what cannot be, nor tells a gate that is none', t => {
  const junk = fc.oneof(
    fc.constantFrom<unknown>(null, -1, 0, 1e308, -1e308, '', 'half-open', true, [], {}, [null], [[]], { kind: 'shut' }),
    fc.jsonValue(),
  )
  const damage = fc.record({ at: fc.nat(120), value: junk })
  fc.assert(
    fc.property(
      fc.constantFrom('adaptive' as const, 'aimd' as const, 'off' as const),
      fc.array(fc.tuple(step, fc.option(damage)), { minLength: 1, maxLength: 30 }),
      (pace, history) => {
        const settings = { ...SETTINGS, pace }
        let state = ''
        let nowMs = START_MS
        for (const [{ elapsedMs, ...one }, harm] of history) {
          nowMs += elapsedMs
          const { steering } = steer(state, [{ pool: 'p', ...one }], settings, nowMs, dice)
          for (const { believed, gate = OPEN_TO_ALL } of steering.pools) {
            assert.ok([OPEN_TO_ALL, SHUT, 1, 2, 3].includes(gate) || (gate > 3 && gate <= 10), `gate ${gate}`)
            for (const [name, perMinute] of Object.entries(believed)) {
              const quota = name === 'requestsPerMinute' ? 600 : 600_000
              assert.ok(perMinute! > 0 && perMinute! <= 100 * quota, `${name} ${perMinute}`)
            }
          }
          state = harm ? damaged(steering.state, harm.at, harm.value) : steering.state
          assert.ok(steering.state.length < 4_000)
          standings(state, settings, nowMs)
        }
      },
    ),
    seeded(t, 1_000),
  )
})

test('a text that is no state at all starts anew', t => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), text => {
      const { steering } = steer(text, [report()], SETTINGS, START_MS, dice)
      assert.deepEqual(steering.pools[0]!.believed, { requestsPerMinute: 600, tokensPerMinute: 600_000 })
    }),
    seeded(t, 300),
  )
})

test('a part that cannot be read starts anew, the others go on', () => {
  const loop = new Loop().step({ throttledRequests: 1, throttledTokens: 1, accepted: 1 })
  const whole = loop.state
  const faults = [
    ['"quietS":0', '"quietS":"long"'],
    ['"quietS":0', '"quietS":1e999'],
    ['"kind":"adaptive"', '"kind":"off"'],
  ]
  for (const [from, to] of faults) {
    loop.state = whole.replace(from!, to!)
    assert.deepEqual([loop.pool().pace.requests!.cuts, loop.pool().pace.tokens!.cuts], [0, 1], to)
  }
})

test('a leader that was reloaded earlier or later leaves what it does not know as it was; of what the room has lost nothing stays', () => {
  const [p] = SETTINGS.pools
  const both = { pools: [p!, { name: 'new', requestsPerMinute: 600 }] }
  const reports = [report(), report({ pool: 'new', throttledRequests: 1, accepted: 1 })]
  const loop = new Loop(both).steps(reports)
  const learned = loop.pool('new').pace.requests!.believedPerMinute
  assert.ok(learned < 600)
  loop.settings = SETTINGS
  loop.steps([report(), report({ pool: 'new' })])
  loop.settings = { ...SETTINGS, ...both }
  assert.equal(loop.pool('new').pace.requests!.believedPerMinute, learned)
  loop.settings = SETTINGS
  loop.steps([report()])
  assert.doesNotMatch(loop.state, /new/)
})

test('the state of as many pools as a model may have, busy, throttled, failing, and with the longest names, can be kept', () => {
  const names = Array.from({ length: MOST_POOLS }, (_, i) => `${'n'.repeat(61)}-${i + 10}`)
  const pools = names.map(name => ({ name, requestsPerMinute: 6_137, tokensPerMinute: 1_234_567 }))
  const loop = new Loop({ pools, breaker: { ...SETTINGS.breaker, failureShare: 0.9 } })
  const limited = { requests: true, tokens: true }
  const busy = { sent: 103, accepted: 97, succeeded: 95, failed: 2, failedInRow: 1, tokens: 20_311.3771, limited }
  loop.nowMs = 1.79e12 + 0.127
  for (let i = 0; i < 600; i += 1)
    loop.steps(
      names.map(pool =>
        report({ pool, ...busy, throttledRequests: Number(i % 50 === 0), throttledTokens: Number(i % 70 === 0) }),
      ),
      1_003.127,
    )
  assert.ok(loop.state.length > MOST_STATE / 4, `${loop.state.length}`)
  assert.ok(loop.state.length < MOST_STATE, `${loop.state.length}`)
})
