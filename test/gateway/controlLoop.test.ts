// The loop in virtual time, over a board of its own and a law small enough to see through: five failures in a row shut a pool.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OPEN_TO_ALL, SHUT } from '../../src/domain/pool.ts'
import { STEP_MS } from '../../src/domain/poolReport.ts'
import type { SteeringEvent } from '../../src/domain/steering.ts'
import { ControlLoop, type ModelLoop } from '../../src/gateway/controlLoop.ts'
import type { Law } from '../../src/gateway/law.ts'
import { MemoryBoard } from '../support/memoryBoard.ts'
import { VirtualClock } from '../support/virtualClock.ts'

const SHUT_MS = 5_000

/** Remembers until when the pool is shut. */
const LAW: Law = {
  steer(_model, state, [report], nowMs) {
    const { pool, failedInRow, gate, counts } = report!
    const events: SteeringEvent[] = []
    const believed = { requestsPerMinute: 600 }
    const to = gate === SHUT ? nowMs >= Number(state) && 'closed' : counts.failed > 0 && failedInRow >= 5 && 'shut'
    if (!to) return { steering: { state, pools: [{ pool, believed }] }, events }
    const from = to === 'shut' ? 'closed' : 'shut'
    events.push({ kind: 'breaker', pool, from, to, reason: 'failures-in-row' })
    const next = to === 'shut' ? { state: String(nowMs + SHUT_MS), gate: SHUT } : { state: '', gate: OPEN_TO_ALL }
    return { steering: { state: next.state, pools: [{ pool, believed, gate: next.gate }] }, events }
  },
  standings: (_model, state, nowMs) => [
    {
      pool: 'p',
      pace: {},
      breaker: { state: Number(state) > nowMs ? 'shut' : 'closed', sinceMs: 0 },
      binding: { binds: 'neither', overMs: 0 },
    },
  ],
}

class World {
  readonly clock = new VirtualClock()
  readonly board = new MemoryBoard(this.clock, ['p'])
  readonly events: SteeringEvent[] = []
  readonly troubles: (string | undefined)[] = []
  readonly #loops: ControlLoop[] = []

  gateway(name: string): ModelLoop {
    const control = new ControlLoop({
      board: this.board.of(name),
      law: LAW,
      clock: this.clock,
      dice: () => 0.5,
      soon: task => void this.clock.after(0, task),
      onEvents: (_model, events) => void this.events.push(...events),
      onTrouble: (_model, reason) => void this.troubles.push(reason),
    })
    this.#loops.push(control)
    return control.of('m')
  }

  close(): void {
    for (const loop of this.#loops) loop.close()
  }
}

async function fail(world: World, loop: ModelLoop, times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    loop.signals.sent('p', 0).failed(true)
    await world.clock.advance(1)
  }
}

test('while a request is there the loop reports every step, the lease is kept, and when nothing is left it falls silent', async () => {
  const world = new World()
  const loop = world.gateway('a')
  await world.clock.advance(60_000)
  assert.equal(world.board.reports, 0, 'idle from the start')
  loop.enter()
  await world.clock.advance(STEP_MS * 10)
  assert.equal(world.board.reports, 10)
  assert.equal(world.board.steered, 10)
  loop.leave()
  await world.clock.advance(60_000)
  assert.ok(world.board.reports <= 12, `${world.board.reports}: idle again`)
})

test('the fifth failure in a row shuts the pool at once, not at the next step', async () => {
  const world = new World()
  const loop = world.gateway('a')
  loop.enter()
  await fail(world, loop, 4)
  await world.clock.advance(20)
  assert.equal(world.board.gateOf('p'), OPEN_TO_ALL)
  await fail(world, loop, 1)
  await world.clock.advance(6)
  assert.equal(world.board.gateOf('p'), SHUT)
  assert.deepEqual(world.events, [
    { kind: 'breaker', pool: 'p', from: 'closed', to: 'shut', reason: 'failures-in-row' },
  ])
})

test('failures of one turn go in one report, and a storm of them makes no storm of reports', async () => {
  const world = new World()
  const loop = world.gateway('a')
  for (let i = 0; i < 100; i++) loop.signals.sent('p', 0).failed(true)
  await world.clock.advance(1)
  assert.equal(world.board.reports, 1)
  await fail(world, loop, 1_000)
  assert.ok(world.board.reports <= 202, `${world.board.reports} in a second`)
})

test('reports never overlap, however long one takes, and what happens meanwhile is told in the next', async () => {
  const world = new World()
  world.board.takesMs = 700
  const loop = world.gateway('a')
  loop.enter()
  await world.clock.advance(STEP_MS + 1)
  await fail(world, loop, 5)
  void loop.standing()
  await world.clock.advance(710)
  assert.equal(world.board.reports, 2, 'a failure meanwhile is told as soon as the first has ended')
  await world.clock.advance(3_000)
  assert.equal(world.board.mostUnderWay, 1)
  assert.equal(world.board.gateOf('p'), SHUT)
  world.close()
})

test('a pool that is shut keeps the loop turning until it is open again, though nothing else happens', async () => {
  const world = new World()
  await fail(world, world.gateway('a'), 5)
  await world.clock.advance(10)
  assert.equal(world.board.gateOf('p'), SHUT)
  await world.clock.advance(SHUT_MS + STEP_MS)
  assert.equal(world.board.gateOf('p'), OPEN_TO_ALL)
  const { reports } = world.board
  await world.clock.advance(60_000)
  assert.ok(world.board.reports <= reports + 2, `${world.board.reports - reports}: at rest`)
})

test('one of two gateways decides for both; when it falls silent the other takes over', async () => {
  const world = new World()
  const [a, b] = [world.gateway('a'), world.gateway('b')]
  a.enter()
  b.enter()
  await world.clock.advance(STEP_MS * 8)
  assert.deepEqual([(await a.standing()).leads, (await b.standing()).leads], [true, false])
  await fail(world, b, 5)
  await world.clock.advance(STEP_MS * 2)
  assert.equal(world.board.gateOf('p'), SHUT, "the leader's next step hears of the other's failures")
  a.leave()
  await world.clock.advance(SHUT_MS + 20_000)
  assert.equal((await b.standing()).leads, true)
  world.close()
})

test('the standing on an idle gateway is asked of the board first; on a busy one it is as last heard', async () => {
  const world = new World()
  const loop = world.gateway('a')
  assert.equal((await loop.standing()).pools[0]!.breaker.state, 'closed')
  assert.equal(world.board.reports, 1)
  await loop.standing()
  assert.equal(world.board.reports, 1)
  await world.clock.advance(60_000)
  const { reports } = world.board
  await loop.standing()
  assert.equal(world.board.reports, reports + 1)
  await fail(world, loop, 5)
  await world.clock.advance(10)
  assert.equal((await loop.standing()).pools[0]!.breaker.state, 'shut')
  world.close()
})

test('a board that is away is said so once, the loop goes on, and says when it is back', async () => {
  const world = new World()
  const loop = world.gateway('a')
  loop.enter()
  world.board.fails = true
  await world.clock.advance(STEP_MS * 5)
  assert.deepEqual(world.troubles, ['Error: the board is away'])
  assert.equal((await loop.standing()).leads, false)
  world.board.fails = false
  await world.clock.advance(STEP_MS * 2)
  assert.deepEqual(world.troubles, ['Error: the board is away', undefined])
  assert.equal((await loop.standing()).leads, true)
  world.close()
})

test('a loop that was closed stays still', async () => {
  const world = new World()
  const loop = world.gateway('a')
  loop.enter()
  world.close()
  await fail(world, loop, 5)
  await world.clock.advance(10_000)
  assert.equal(world.board.reports, 0)
})
