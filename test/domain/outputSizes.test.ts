// The learner in simulation: answers drawn from known distributions, cut at the cap they were given, as Bedrock would.
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { OutputSizes } from '../../src/domain/outputSizes.ts'
import { seededDice } from '../../src/simulator/dice.ts'

const MARGIN = 1.5
const SEEDS = [1, 2, 3, 4, 5]

type Draw = (dice: () => number) => number

/** Output tokens around a median; `spread` is the standard deviation of their logarithm. */
function lognormal(median: number, spread: number): Draw {
  return dice => {
    const normal = Math.sqrt(-2 * Math.log(1 - dice())) * Math.cos(2 * Math.PI * dice())
    return Math.max(1, Math.round(median * Math.exp(spread * normal)))
  }
}

function mixed(small: Draw, large: Draw, largeShare: number): Draw {
  return dice => (dice() < largeShare ? large : small)(dice)
}

interface Phase {
  draw: Draw
  answers: number
}

interface Seen {
  /** Answers that were cut, of all and of the second half of the phase. */
  cut: number
  cutLate: number
  cap: number
}

/** `first`: the cap until enough is known. */
function simulate(phases: Phase[], seed: number, first: number, margin = MARGIN): Seen[] {
  const dice = seededDice(seed)
  const sizes = new OutputSizes()
  const capNow = () => (sizes.size === undefined ? first : Math.ceil(sizes.size * margin))
  return phases.map(({ draw, answers }) => {
    let [cut, cutLate] = [0, 0]
    for (let i = 0; i < answers; i += 1) {
      const [wanted, cap] = [draw(dice), capNow()]
      if (wanted > cap) {
        cut += 1
        if (i >= answers / 2) cutLate += 1
      }
      sizes.learn(Math.min(wanted, cap), cap)
    }
    return { cut, cutLate: cutLate / (answers / 2), cap: capNow() }
  })
}

function told(t: TestContext, title: string, seed: number, seen: Seen[]): Seen[] {
  const figures = seen.map(({ cut, cutLate, cap }) => `cut ${cut}, late ${(100 * cutLate).toFixed(2)} %, cap ${cap}`)
  t.diagnostic(`${title}, seed ${seed}: ${figures.join('; ')}`)
  return seen
}

test('from far below and from far above it comes to the same cap, which cuts less than one answer in a hundred', t => {
  const median = 300
  const draw = lognormal(median, 1)
  // The 99th percentile of the distribution is e^2.326 medians.
  const ideal = median * Math.exp(2.326) * MARGIN
  for (const seed of SEEDS)
    for (const first of [8, 65_536]) {
      const [seen] = told(t, `first ${first}`, seed, simulate([{ draw, answers: 6000 }], seed, first))
      assert.ok(seen!.cap > ideal / 1.6 && seen!.cap < ideal * 1.6, `${seen!.cap} is near ${ideal}`)
      assert.ok(seen!.cutLate < 0.01)
    }
})

test('caps grow with the answers: when these become ten times longer, few are cut before it has caught up', t => {
  for (const seed of SEEDS) {
    const phases = [lognormal(200, 0.8), lognormal(2000, 0.8)].map(draw => ({ draw, answers: 4000 }))
    const [, long] = told(t, 'ten times longer', seed, simulate(phases, seed, 4096))
    assert.ok(long!.cut < 80, `${long!.cut} of 4000 cut in all`)
    assert.ok(long!.cutLate < 0.01)
  }
})

test('caps shrink with the answers: a thousand short ones, and the long ones of before are forgotten', t => {
  for (const seed of SEEDS) {
    const phases = [
      { draw: lognormal(4000, 0.8), answers: 2000 },
      { draw: lognormal(200, 0.8), answers: 1000 },
    ]
    const [long, short] = told(t, 'ten times shorter', seed, simulate(phases, seed, 4096))
    assert.ok(short!.cap < long!.cap / 8)
  }
})

test('a mix of many short and a few long answers keeps room for the long ones, as their share changes', t => {
  for (const seed of SEEDS) {
    const phases = [0.02, 0.3, 0.05].map(share => ({
      draw: mixed(lognormal(30, 0.5), lognormal(3000, 0.6), share),
      answers: 4000,
    }))
    for (const { cutLate } of told(t, 'mix', seed, simulate(phases, seed, 4096))) assert.ok(cutLate < 0.02)
  }
})

test('without a margin, and with a tail that has no mean, no more than one in fifty is cut', t => {
  for (const seed of SEEDS) {
    const pareto: Draw = dice => Math.round(50 / (1 - dice()))
    for (const draw of [lognormal(300, 1), pareto]) {
      const [seen] = told(t, 'no margin', seed, simulate([{ draw, answers: 10_000 }], seed, 4096, 1))
      assert.ok(seen!.cutLate < 0.02)
    }
  }
})

test('nothing is said before fifty answers; then it is never less than 99 of 100 needed, and at most a step more', () => {
  const sizes = new OutputSizes()
  for (let i = 1; i < 50; i += 1) sizes.learn(i)
  assert.equal(sizes.size, undefined)
  sizes.learn(500)
  assert.ok(sizes.size! >= 500 && sizes.size! <= 500 * 2 ** (1 / 8))
  for (let i = 0; i < 950; i += 1) sizes.learn(100)
  // One in a thousand is longer than it says, ten may be.
  assert.ok(sizes.size! >= 100 && sizes.size! <= 110)
  for (let i = 0; i < 10; i += 1) sizes.learn(700)
  assert.ok(sizes.size! <= 550, 'ten in a thousand are longer than 550')
  sizes.learn(700)
  assert.ok(sizes.size! >= 700, 'eleven would be')
})

test('any figure is borne: none, one beyond all bounds, a cap of none', () => {
  const sizes = new OutputSizes()
  for (let i = 0; i < 1200; i += 1) sizes.learn(0)
  assert.equal(sizes.size, 1)
  for (let i = 0; i < 1200; i += 1) sizes.learn(Number.MAX_SAFE_INTEGER, 5)
  assert.ok(sizes.size! >= 10 && sizes.size! <= 11)
  for (let i = 0; i < 1200; i += 1) sizes.learn(Number.MAX_SAFE_INTEGER)
  assert.equal(sizes.size, 2 ** 24)
  for (let i = 0; i < 1200; i += 1) sizes.learn(0, 0)
  assert.equal(sizes.size, 1)
})
