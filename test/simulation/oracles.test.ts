// Who checks the checkers: the measures and bounds that the scenarios rely on, on cases small enough to know the answer.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { drawChart } from './chart.ts'
import { Cluster } from './cluster.ts'
import { ConservationAudit } from './conservation.ts'
import { runFairness, SET_UPS } from './fairness.ts'
import { jain, means, percentile } from './figures.ts'
import { type FluidUser, fluidRates, headroom } from './fluidOptimum.ts'
import type { Ending } from './gateway.ts'
import { sampleCharges } from './requests.ts'
import { serviceGap } from './serviceGap.ts'
import { maximise } from './simplex.ts'
import { VirtualTime } from './virtualTime.ts'

test('the simplex finds a known optimum, and says when there is none', () => {
  const rows = [
    { coefficients: [1, 0], limit: 4 },
    { coefficients: [0, 2], limit: 12 },
    { coefficients: [3, 2], limit: 18 },
  ]
  const { value, solution } = maximise({ objective: [3, 5], rows })
  assert.ok(Math.abs(value - 36) < 1e-9)
  assert.deepEqual(
    solution.map(one => Math.round(one * 1e6) / 1e6),
    [2, 6],
  )
  assert.throws(() => maximise({ objective: [1, 1], rows: [{ coefficients: [1, -1], limit: 1 }] }))
})

test('a fluid server divides one pool by weight, and gives what a modest user leaves to the others', () => {
  const pool = { requestsPerS: 1000, tokensPerS: 10_000, largestTokens: 600_000 }
  const charges = sampleCharges('mid')
  const all = 10_000 / (charges.reduce((sum, one) => sum + one, 0) / charges.length)
  const [heavy, light] = fluidRates([user(3), user(1)], [pool])
  assert.ok(Math.abs(heavy! - 0.75 * all) < 1e-3 * all)
  assert.ok(Math.abs(light! - 0.25 * all) < 1e-3 * all)
  const [rest, modest] = fluidRates([user(1), { ...user(1), demandPerS: 0.1 * all }], [pool])
  assert.ok(Math.abs(rest! - 0.9 * all) < 1e-3 * all)
  assert.equal(modest, 0.1 * all)
})

test('a fluid server sends a large request to no pool whose minute cannot hold it', () => {
  const small = { requestsPerS: 10, tokensPerS: 1_000, largestTokens: 50_000 }
  const large = { requestsPerS: 10, tokensPerS: 1_000, largestTokens: 100_000 }
  const users: FluidUser[] = [{ kind: 'large', weight: 1 }]
  const both = fluidRates(users, [small, large])[0]!
  assert.ok(both < 0.75 * fluidRates(users, [large, large])[0]!)
})

for (const [name, setUp] of Object.entries(SET_UPS)) {
  test(`${name}: at the fluid optimum nobody who wants more can be given more`, () => {
    const pools = new Cluster({ seed: 1, quotas: setUp.quotas }).fluidPools
    const users: FluidUser[] = [user(8), user(1), { kind: 'tiny', weight: 1 }, { kind: 'large', weight: 1 }]
    const rates = fluidRates(users, pools)
    assert.ok(Math.abs(headroom(users, rates, pools) - 1) < 1e-6)
    for (const i of users.keys()) {
      const more = rates.map((rate, k) => (k === i ? rate * 1.05 : rate))
      assert.ok(headroom(users, more, pools) < 1, `user ${i} could have more`)
    }
  })
}

test('measures of equal and unequal shares, of percentiles and of means', () => {
  assert.equal(jain([1, 1, 1, 1]), 1)
  assert.equal(jain([1, 0, 0, 0]), 0.25)
  assert.equal(percentile([3, 1, 2], 0.5), 2)
  assert.equal(percentile([3, 1, 2], 0.99), 3)
  assert.ok(Number.isNaN(percentile([], 0.5)))
  assert.deepEqual(means([{ a: 1 }, { a: 3, b: 5 }, { a: Number.NaN }]), { a: 2, b: 5 })
})

test('the service gap is one largest request of each when two flows take turns, and grows when one is forgotten', () => {
  const served = (...atMs: number[]) => atMs.map(at => ({ askedMs: 0, atMs: at, waitMs: 0, costS: 1 }))
  assert.equal(gapOf(served(1, 3, 5), served(2, 4, 6)), 0.5)
  assert.equal(gapOf(served(1, 2, 3, 4), served(5, 6, 7, 8)), 2)
})

test('conservation: whoever admits a token too many in some interval is found out', () => {
  const audit = (admit: (audit: ConservationAudit, time: VirtualTime) => void) => {
    const time = new VirtualTime(1)
    const found = new ConservationAudit(time, [{ name: 'pool', tokensPerMinute: 60_000 }], 0.05)
    admit(found, time)
    return found.result()
  }
  // burst 3,000 + purse 30,000 + debt 7,000 for requests of 10,000; 980 tokens a second.
  const most = audit((found, time) => {
    found.admitted('pool', 10_000)
    time.runUntil(60_000)
    for (let i = 0; i < 4; i += 1) found.admitted('pool', 10_000)
  })
  assert.ok(most.bound > 0.99 && most.bound <= 1, `${most.bound}`)
  const tooMuch = audit(found => {
    for (let i = 0; i < 5; i += 1) found.admitted('pool', 10_000)
  })
  assert.ok(tooMuch.bound > 1)
  const refunded = audit(found => {
    for (let i = 0; i < 5; i += 1) {
      found.admitted('pool', 10_000)
      found.settled('pool', 10_000, 2_000)
    }
  })
  assert.ok(refunded.bound < 1)
  const fullMinute = audit((found, time) => {
    for (let second = 0; second <= 120; second += 1) {
      time.runUntil(second * 1000)
      found.admitted('pool', 1_001)
    }
  })
  assert.ok(fullMinute.minute > 1 && fullMinute.minute < 1.01)
})

test('a ledger that grants twice, settles twice or forgets a ticket is found out', () => {
  const cluster = new Cluster({ seed: 1, quotas: SET_UPS.one.quotas, gateways: 2 })
  const { ledger } = cluster
  const ask = { id: 'a', rank: 1, client: 'c', weight: 1, user: 'u', tokens: 100, gateway: 'gateway-0' }
  ledger.acquire(ask, Number.POSITIVE_INFINITY)
  cluster.time.runUntil(2_000)
  ledger.tick('gateway-0')
  const room = ledger.room
  room.settle = () => true
  ledger.settle('gateway-0', 'a', 100)
  ledger.settle('gateway-0', 'a', 100)
  room.takeGrants = () => [{ ticketId: 'a', gateway: 'gateway-0', pool: 'pool-0' }]
  ledger.collect('gateway-0')
  room.takeGrants = () => ['b', 'b'].map(ticketId => ({ ticketId, gateway: 'gateway-0', pool: 'pool-0' }))
  room.acquire = () => ({ kind: 'waiting', etaMs: 0 })
  ledger.acquire({ ...ask, id: 'b' }, Number.POSITIVE_INFINITY)
  assert.ok(ledger.faults.includes('a was settled twice'))
  assert.ok(ledger.faults.includes('a was granted after its end'))
  assert.ok(ledger.faults.includes('b was granted twice'))
})

test('a call whose ticket the ledger forgot ends as forgotten, and is told', () => {
  const cluster = new Cluster({ seed: 1, quotas: SET_UPS.one.quotas })
  const endings: Ending[] = []
  cluster.ledger.room.acquire = () => ({ kind: 'waiting', etaMs: 0 })
  const size = { reservedTokens: 100, chargedTokens: 100, durationMs: 1 }
  const onEnded = (ending: Ending) => void endings.push(ending)
  cluster.send({ rank: 1, client: 'c', weight: 1, user: 'u', size, maxWaitMs: 500, onTurn() {}, onEnded })
  const { broken } = cluster.run(1)
  assert.deepEqual(endings, ['forgotten'])
  assert.deepEqual(broken, ['1 tickets were forgotten'])
})

test('a seed replays to the last digit, and another seed does not', () => {
  const figures = (seed: number) => runFairness(SET_UPS.two, { seed, durationS: 300 }).figures
  assert.deepEqual(figures(1), figures(1))
  assert.notDeepEqual(figures(1), figures(2))
})

test('a chart names each group, both axes and their units', () => {
  const svg = drawChart('a < b', runFairness(SET_UPS.one, { seed: 1, durationS: 240 }))
  for (const words of ['a &lt; b', 'weight 8', 'light p99', 'time, s', 'wait, s', 'service ÷ fluid share'])
    assert.ok(svg.includes(words), words)
  assert.ok(!svg.includes('NaN'))
})

function user(weight: number): FluidUser {
  return { kind: 'mid', weight }
}

function gapOf(a: Parameters<typeof serviceGap>[0][number]['served'], b: typeof a): number {
  return serviceGap([
    { served: a, weight: 1 },
    { served: b, weight: 1 },
  ])
}
