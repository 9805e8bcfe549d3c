import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { SortedSet } from '../../src/domain/sortedSet.ts'
import { seeded } from '../support/seeds.ts'

type Step =
  | { kind: 'set'; key: string; score: number }
  | { kind: 'delete'; key: string }
  | { kind: 'deleteUpTo'; score: number }

/** Few scores and keys, so that ties, moves and absent keys are common. */
const score = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.constantFrom(0.1, 0.2, 0.30000000000000004, Infinity))
const key = fc.constantFrom('a', 'b', 'B', 'a1', 'a10', 'a2', '', '~')
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('set' as const), key, score }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('deleteUpTo' as const), score }) },
)

/** What a sorted set is: sorted anew at every look. */
class Naive {
  readonly scores = new Map<string, number>()

  apply(one: Step): void {
    if (one.kind === 'set') this.scores.set(one.key, one.score)
    else if (one.kind === 'delete') this.scores.delete(one.key)
    else for (const [key, score] of [...this.scores]) if (score <= one.score) this.scores.delete(key)
  }

  entries(): [string, number][] {
    return [...this.scores].sort(([a, x], [b, y]) => (x === y ? (a < b ? -1 : 1) : x < y ? -1 : 1))
  }
}

function apply(set: SortedSet<string>, one: Step, item: string): void {
  if (one.kind === 'set') set.set(one.key, one.score, item)
  else if (one.kind === 'delete') set.delete(one.key)
  else set.deleteUpTo(one.score)
}

test('after any steps the set holds what a plain sorted list would, ties by key, whatever was moved or removed', t => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const set = new SortedSet<string>()
      const naive = new Naive()
      const items = new Map<string, string>()
      for (const [i, one] of steps.entries()) {
        apply(set, one, `item ${i}`)
        naive.apply(one)
        if (one.kind === 'set') items.set(one.key, `item ${i}`)
        const expected = naive.entries()
        assert.deepEqual(set.entries(), expected)
        assert.equal(set.size, expected.length)
        const expectedItems = expected.map(([key]) => items.get(key)!)
        for (const count of [0, 1, 3, expected.length + 1])
          assert.deepEqual(set.first(count), expectedItems.slice(0, count))
        for (const index of [0, expected.length - 1, expected.length]) assert.equal(set.at(index), expectedItems[index])
        for (const name of ['a', 'b', 'a1', 'none']) assert.equal(set.scoreOf(name), naive.scores.get(name))
      }
    }),
    seeded(t, 500),
  )
})

test('an item set again at the same score is the new item, not two', () => {
  const set = new SortedSet<string>()
  set.set('a', 1, 'old')
  set.set('a', 1, 'new')
  assert.deepEqual(set.first(5), ['new'])
})

test('the first items are a copy: who walks them may change the set', () => {
  const set = new SortedSet<number>()
  for (let i = 0; i < 5; i++) set.set(`k${i}`, i, i)
  const seen: number[] = []
  for (const item of set.first(5)) {
    seen.push(item)
    set.delete(`k${item}`)
  }
  assert.deepEqual(seen, [0, 1, 2, 3, 4])
})
