// Concurrent sends and who waits for one, in virtual time.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { PRIORITIES, type Priority } from '../../src/domain/model.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { type Entrance, SendStage } from '../../src/gateway/sendStage.ts'
import { seeded } from '../support/seeds.ts'
import { VirtualClock } from '../support/virtualClock.ts'

interface Guest {
  name: string
  entrance: Entrance | undefined
  presence: Presence
}

class Stage {
  readonly clock = new VirtualClock()
  readonly waits: number[] = []
  readonly stage: SendStage
  /** Who entered, in order. */
  readonly entered: string[] = []

  constructor(maxSendsPerPool: number, maxWaitingSends: number) {
    const settings = { maxSendsPerPool, maxWaitingSends }
    this.stage = new SendStage({ settings, clock: this.clock, onEntered: ms => void this.waits.push(ms) })
  }

  get lane() {
    return this.stage.lane('m', 'p')
  }

  come(name: string, priority: Priority = 'normal', maxWaitMs = 60_000): Guest {
    const guest: Guest = { name, entrance: undefined, presence: new Presence() }
    const entering = this.lane.enter(priority, this.clock.nowMs() + maxWaitMs, guest.presence)
    const decided = (entrance: Entrance) => {
      guest.entrance = entrance
      if (entrance.kind === 'entered') this.entered.push(name)
    }
    if ('then' in entering) entering.then(decided)
    else decided(entering)
    return guest
  }

  async leave(afterMs = 0): Promise<void> {
    await this.clock.advance(afterMs)
    this.lane.leave()
    await this.clock.advance(0)
  }
}

const refused = (guest: Guest) => (guest.entrance?.kind === 'refused' ? guest.entrance.refusal : undefined)

test('so many calls go at once, the next waits until one has ended, and no longer', async () => {
  const s = new Stage(2, 10)
  for (const name of ['a', 'b', 'c']) s.come(name)
  assert.deepEqual(s.entered, ['a', 'b'])
  assert.deepEqual(s.stage.depth, { sending: 2, waiting: 1 })
  await s.leave(700)
  assert.deepEqual(s.entered, ['a', 'b', 'c'])
  assert.deepEqual(s.stage.depth, { sending: 2, waiting: 0 })
  assert.deepEqual(s.waits, [0, 0, 700])
})

test('who waits goes by class, then by arrival', async () => {
  const s = new Stage(1, 10)
  s.come('running')
  for (const [name, priority] of [
    ['low', 'low'],
    ['normal 1', 'normal'],
    ['high 1', 'high'],
    ['normal 2', 'normal'],
    ['high 2', 'high'],
  ] as const)
    s.come(name, priority)
  for (let i = 0; i < 5; i++) await s.leave()
  assert.deepEqual(s.entered, ['running', 'high 1', 'high 2', 'normal 1', 'normal 2', 'low'])
})

test('a full list refuses a newcomer, or the newest of the lowest class below it', async () => {
  const s = new Stage(1, 3)
  s.come('running')
  const low1 = s.come('low 1', 'low')
  const low2 = s.come('low 2', 'low')
  const normal = s.come('normal', 'normal')
  const low3 = s.come('low 3', 'low')
  await s.clock.advance(0)
  assert.equal(refused(low3)?.code, 'overloaded')
  const high = s.come('high', 'high')
  await s.clock.advance(0)
  assert.equal(refused(low2)?.code, 'overloaded')
  assert.equal(low1.entrance, undefined)
  s.come('high 2', 'high')
  s.come('high 3', 'high')
  const high4 = s.come('high 4', 'high')
  await s.clock.advance(0)
  assert.equal(refused(low1)?.code, 'overloaded')
  assert.equal(refused(normal)?.code, 'overloaded')
  assert.equal(refused(high4)?.code, 'overloaded', 'none is below it')
  assert.equal(high.entrance, undefined)
  assert.deepEqual(s.stage.depth, { sending: 1, waiting: 3 })
})

test('one who waits to its deadline is refused then, and its place is free', async () => {
  const s = new Stage(1, 1)
  s.come('running')
  const late = s.come('late', 'normal', 2_000)
  await s.clock.advance(1_999)
  assert.equal(late.entrance, undefined)
  await s.clock.advance(1)
  assert.equal(refused(late)?.code, 'wait-timeout')
  assert.ok(refused(late)!.retryAfterMs! > 0)
  const next = s.come('next')
  await s.leave()
  assert.equal(next.entrance?.kind, 'entered')
})

test('a client that leaves while it waits frees its place; one that has left already takes none', async () => {
  const s = new Stage(1, 1)
  s.come('running')
  const left = s.come('left')
  left.presence.leave()
  await s.clock.advance(0)
  assert.equal(left.entrance?.kind, 'left')
  assert.deepEqual(s.stage.depth, { sending: 1, waiting: 0 })
  await s.leave()
  const gone = new Presence()
  gone.leave()
  assert.deepEqual(s.lane.enter('high', 1e15, gone), { kind: 'left' })
  assert.deepEqual(s.stage.depth, { sending: 0, waiting: 0 })
})

test('one who is refused is told how long those before it will take at the rate at which calls end', async () => {
  const s = new Stage(1, 9)
  s.come('running')
  for (let i = 0; i < 9; i++) s.come(`waiting ${i}`)
  for (let i = 0; i < 5; i++) {
    await s.leave(200)
    s.come(`more ${i}`)
  }
  assert.equal(refused(s.come('refused'))!.retryAfterMs, 10 * 200)
  await s.clock.advance(50_000)
  assert.equal(refused(s.come('refused in a stall'))!.retryAfterMs, 60_000, 'nothing ends any more')
})

test("pools do not wait for each other's calls", async () => {
  const s = new Stage(1, 0)
  s.come('running')
  assert.equal(refused(s.come('refused'))!.code, 'overloaded')
  assert.deepEqual(s.stage.lane('m', 'other').enter('low', 1e15, new Presence()), { kind: 'entered' })
})

test('over random histories never too many run or wait, nobody is passed over, and all slots come back', async t => {
  const event = fc.record({
    gapMs: fc.nat(300),
    priority: fc.constantFrom(...PRIORITIES),
    maxWaitMs: fc.nat(2_000),
    lastsMs: fc.nat(1_500),
    leavesMs: fc.option(fc.nat(1_500)),
  })
  const bounds = { maxSends: fc.integer({ min: 1, max: 4 }), maxWaiting: fc.nat(5) }
  const histories = fc.array(event, { minLength: 1, maxLength: 60 })
  await fc.assert(
    fc.asyncProperty(fc.record(bounds), histories, async ({ maxSends, maxWaiting }, events) => {
      const s = new Stage(maxSends, maxWaiting)
      const guests: Guest[] = []
      for (const { gapMs, priority, maxWaitMs, lastsMs, leavesMs } of events) {
        await s.clock.advance(gapMs)
        const presence = new Presence()
        const guest: Guest = { name: '', entrance: undefined, presence }
        guests.push(guest)
        const entering = s.lane.enter(priority, s.clock.nowMs() + maxWaitMs, presence)
        const decided = (entrance: Entrance) => {
          assert.equal(guest.entrance, undefined, 'decided once')
          guest.entrance = entrance
          if (entrance.kind === 'entered') s.clock.after(lastsMs, () => s.lane.leave())
        }
        if ('then' in entering) void entering.then(decided)
        else decided(entering)
        if (leavesMs !== null) s.clock.after(leavesMs, () => presence.leave())
        const { sending, waiting } = s.stage.depth
        assert.ok(sending <= maxSends && waiting <= maxWaiting, `${sending} run, ${waiting} wait`)
        assert.ok(waiting === 0 || sending === maxSends, 'nobody waits beside a free slot')
      }
      await s.clock.advance(60_000)
      assert.deepEqual(s.stage.depth, { sending: 0, waiting: 0 })
      assert.ok(guests.every(guest => guest.entrance !== undefined))
    }),
    seeded(t, 150),
  )
})
