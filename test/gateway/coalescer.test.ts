// Shared calls in virtual time: who shares, what each hears, who pays, and that nobody's failure is somebody else's.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { KEPT_BYTES } from '../../src/gateway/recording.ts'
import { seeded } from '../support/seeds.ts'
import { type Client, World } from './sharedCalls.ts'

/** The whole answer, and the line of who did not pay for it. */
function followed(client: Client, text: string): void {
  assert.deepEqual([client.text, client.ending, client.status], [text, 'whole', 200])
  assert.equal(client.notes?.coalesced, true)
  assert.equal(client.notes?.attempts, 0)
  const { outcome, attempts, chargedTokens, reservedTokens, coalesced, pool } = client.finished!
  assert.deepEqual(
    { outcome, attempts, chargedTokens, reservedTokens, coalesced, pool },
    { outcome: 'answered', attempts: 0, chargedTokens: 0, reservedTokens: 0, coalesced: true, pool: 'only' },
  )
}

test('identical invocations in flight share one call: one pays, all hear it whole and live', async () => {
  const world = new World()
  const clients = [await world.ask(), await world.ask(), await world.ask()]
  world.last.head()
  world.last.data('wa')
  assert.deepEqual(
    clients.map(({ text }) => text),
    ['wa', 'wa', 'wa'],
  )
  world.last.data('ter')
  world.last.end()
  await world.settle()
  assert.equal(world.calls.length, 1)
  const [leader, ...followers] = clients
  assert.deepEqual([leader!.text, leader!.ending, leader!.notes?.coalesced], ['water', 'whole', undefined])
  assert.deepEqual([leader!.finished!.chargedTokens, leader!.finished!.coalesced], [50, false])
  for (const client of followers) followed(client, 'water')
})

test('another body, client, class or a model that does not share has a call of its own; `shared` shares across clients', async () => {
  const world = new World()
  await world.ask()
  for (const other of [{ body: 'bye' }, { client: 'other' }, { priority: 'high' }, { scope: 'off' }] as const) {
    const before = world.calls.length
    await world.ask(other)
    assert.equal(world.calls.length, before + 1, JSON.stringify(other))
  }
  await world.ask({ user: 'another' })
  assert.equal(world.calls.length, 5, 'users of one client share')
  await world.ask({ scope: 'shared' })
  await world.ask({ scope: 'shared', client: 'other' })
  assert.equal(world.calls.length, 6)
})

test('who comes while it answers gets what has passed, then the rest; who comes after its end starts anew', async () => {
  const world = new World()
  await world.ask()
  world.last.head()
  world.last.data('a')
  world.last.data('b')
  const late = await world.ask()
  assert.equal(late.text, 'ab')
  world.last.data('c')
  world.last.end()
  await world.settle()
  followed(late, 'abc')
  await world.ask()
  assert.equal(world.calls.length, 2)
})

for (const when of ['before the head', 'after the head', 'between bytes'])
  test(`a leader that leaves ${when} takes nobody with it, and still pays`, async () => {
    const world = new World()
    const leader = await world.ask()
    const followers = [await world.ask(), await world.ask()]
    if (when === 'before the head') leader.leave()
    world.last.head()
    if (when === 'after the head') leader.leave()
    world.last.data('wa')
    if (when === 'between bytes') leader.leave()
    world.last.data('ter')
    assert.equal(world.last.isAbandoned, false)
    assert.equal(leader.finished, undefined, 'its line is written when the call has ended')
    world.last.end()
    await world.settle()
    for (const client of followers) followed(client, 'water')
    const { outcome, chargedTokens } = leader.finished!
    assert.deepEqual([outcome, chargedTokens], ['aborted', 50])
  })

test('when all have left the call is given up, and whoever comes then has one of its own', async () => {
  const world = new World()
  const clients = [await world.ask(), await world.ask()]
  world.last.head()
  clients[0]!.leave()
  await world.settle()
  assert.equal(world.last.isAbandoned, false)
  clients[1]!.leave()
  await world.settle()
  assert.equal(world.last.isAbandoned, true)
  assert.deepEqual(
    clients.map(({ finished }) => finished?.outcome),
    ['aborted', 'aborted'],
  )
  await world.ask()
  assert.equal(world.calls.length, 2)
})

test("a leader's refusal is its own: the others try again as one, once, and then it is theirs", async () => {
  const world = new World()
  const leader = await world.ask()
  const others = [await world.ask(), await world.ask({ maxWaitMs: 60_000 }), await world.ask()]
  world.calls[0]!.refuse('upstream-unreachable')
  await world.settle()
  assert.equal(leader.ending, 'upstream-unreachable')
  assert.deepEqual([world.calls.length, others.map(({ ending }) => ending)], [2, [undefined, undefined, undefined]])
  assert.equal(world.last.invocation.maxWaitMs, 60_000, 'the one with the most time left leads')
  world.last.refuse('upstream-unreachable')
  await world.settle()
  assert.equal(world.calls.length, 2)
  for (const client of others) assert.equal(client.ending, 'upstream-unreachable')
  assert.deepEqual(
    others.map(({ finished }) => [finished!.outcome, finished!.coalesced]),
    [
      ['refused', true],
      ['refused', false],
      ['refused', true],
    ],
  )
})

for (const status of [429, 503])
  test(`Bedrock's own ${status} goes to the leader; the others try again once, then share it`, async () => {
    const world = new World()
    const leader = await world.ask()
    const others = [await world.ask(), await world.ask(), await world.ask()]
    for (const call of [0, 1]) {
      world.calls[call]!.head(status)
      world.calls[call]!.data('busy')
      world.calls[call]!.end()
      await world.settle()
    }
    assert.equal(world.calls.length, 2)
    for (const client of [leader, ...others]) assert.deepEqual([client.status, client.ending], [status, 'whole'])
  })

test('an answer of 400 and a request that cannot fit are the same for all', async () => {
  const world = new World()
  const clients = [await world.ask(), await world.ask()]
  world.last.head(400)
  world.last.data('no')
  world.last.end()
  await world.settle()
  assert.deepEqual(
    clients.map(({ status, text }) => [status, text]),
    [
      [400, 'no'],
      [400, 'no'],
    ],
  )
  const large = [await world.ask(), await world.ask()]
  world.last.refuse('cannot-fit')
  await world.settle()
  assert.deepEqual(
    large.map(({ ending }) => ending),
    ['cannot-fit', 'cannot-fit'],
  )
  assert.equal(world.calls.length, 2)
})

test('a cut after the head is a cut for all, and nobody is sent to another call', async () => {
  const world = new World()
  const clients = [await world.ask(), await world.ask()]
  world.last.head()
  world.last.data('wa')
  world.last.cut()
  await world.settle()
  assert.deepEqual(
    clients.map(({ text, ending, finished }) => [text, ending, finished!.outcome]),
    [
      ['wa', 'cut', 'cut'],
      ['wa', 'cut', 'cut'],
    ],
  )
  assert.equal(world.calls.length, 1)
})

test('a fault of ours in the call is no end of the others', async () => {
  const world = new World()
  await world.ask()
  const other = await world.ask()
  world.calls[0]!.fault()
  await world.settle()
  world.calls[1]!.whole('water')
  await world.settle()
  assert.deepEqual([other.text, other.ending], ['water', 'whole'])
})

test("who has more time than the leader outlasts the leader's wait, with what is left of its own", async () => {
  const world = new World()
  const leader = await world.ask({ maxWaitMs: 5_000 })
  const others = [await world.ask({ maxWaitMs: 8_000 }), await world.ask({ maxWaitMs: 9_000 })]
  await world.clock.advance(5_000)
  world.last.refuse('wait-timeout')
  await world.settle()
  assert.equal(leader.ending, 'wait-timeout')
  assert.equal(world.last.invocation.maxWaitMs, 4_000)
  await world.clock.advance(3_000)
  assert.equal(others[0]!.ending, 'wait-timeout', 'its own deadline')
  assert.equal(others[0]!.finished!.waitMs, 8_000)
  world.last.whole('water')
  await world.settle()
  assert.deepEqual([others[1]!.text, others[1]!.notes?.waitMs, others[1]!.finished!.waitMs], ['water', 5_007, 5_007])
})

test("another's wait that was over is no try of one's own, and whose own is over does not try again", async () => {
  const world = new World()
  await world.ask({ maxWaitMs: 1_000 })
  const over = await world.ask({ maxWaitMs: 1_000 })
  const other = await world.ask({ maxWaitMs: 4_000 })
  const second = await world.ask({ maxWaitMs: 5_000 })
  world.clock.after(1_000, () => world.calls[0]!.refuse('wait-timeout'))
  await world.clock.advance(1_000)
  assert.deepEqual([over.ending, second.ending, world.calls.length], ['wait-timeout', undefined, 2])
  world.last.refuse('upstream-unreachable')
  await world.settle()
  assert.deepEqual([second.ending, world.calls.length], ['upstream-unreachable', 3])
  world.last.whole('water')
  await world.settle()
  assert.deepEqual([other.text, other.ending], ['water', 'whole'])
})

test('one whose time is over shares the refusal of the call it was granted with', async () => {
  const world = new World()
  await world.ask({ maxWaitMs: 1_000 })
  const other = await world.ask({ maxWaitMs: 1_000 })
  world.last.invocation.granted!()
  await world.clock.advance(2_000)
  world.last.refuse('upstream-cut')
  await world.settle()
  assert.deepEqual([other.ending, world.calls.length], ['upstream-cut', 1])
})

test('once its turn has come nobody waits any longer, however long the answer takes', async () => {
  const world = new World()
  await world.ask()
  const early = await world.ask({ maxWaitMs: 1_000 })
  await world.clock.advance(500)
  world.last.invocation.granted!()
  await world.clock.advance(200)
  const late = await world.ask({ maxWaitMs: 1_000 })
  await world.clock.advance(60_000)
  world.last.whole('water')
  await world.settle()
  followed(early, 'water')
  followed(late, 'water')
  const figures = [early, late].map(({ finished }) => [finished!.waitMs, finished!.firstByteMs, finished!.totalMs])
  assert.deepEqual(figures, [
    [500, 60_200, 60_700],
    [0, 60_000, 60_000],
  ])
})

test('a slow reader has its own pace: it stalls nobody, loses nothing, and the upstream waits only when all do', async () => {
  const world = new World()
  const slow = await world.ask({ takes: 1 })
  const fast = await world.ask()
  world.last.head()
  for (const text of ['a', 'b', 'c']) world.last.data(text)
  assert.deepEqual([slow.text, fast.text, world.last.isPaused], ['a', 'abc', false])
  fast.flow!.pause()
  assert.equal(world.last.isPaused, true)
  fast.flow!.resume()
  assert.equal(world.last.isPaused, false)
  world.last.end()
  await world.settle()
  followed(fast, 'abc')
  assert.equal(slow.ending, undefined)
  slow.takes = 1
  slow.flow!.resume()
  assert.equal(slow.text, 'ab')
  slow.takes = 10
  slow.flow!.resume()
  await world.settle()
  assert.deepEqual([slow.text, slow.ending, slow.finished!.chargedTokens], ['abc', 'whole', 50])
})

test('a reader alone holds the upstream, whatever its pace', async () => {
  const world = new World()
  const [slow, fast] = [await world.ask({ takes: 1 }), await world.ask()]
  world.last.head()
  world.last.data('a')
  world.last.data('b')
  assert.equal(world.last.isPaused, false)
  fast.leave()
  assert.equal(world.last.isPaused, true)
  slow.takes = 10
  slow.flow!.resume()
  assert.deepEqual([slow.text, world.last.isPaused], ['ab', false])
})

const MEGABYTE = 'x'.repeat(1024 * 1024)

test('a call that has outgrown what is kept takes nobody more; who takes part hears it to its end', async () => {
  const world = new World()
  const clients = [await world.ask(), await world.ask()]
  world.last.head()
  for (let bytes = 0; bytes <= KEPT_BYTES; bytes += MEGABYTE.length) world.last.data(MEGABYTE)
  await world.ask()
  assert.equal(world.calls.length, 2)
  assert.ok(world.kept.bytes < MEGABYTE.length, 'what all have read is kept no longer')
  world.calls[0]!.data('end')
  world.calls[0]!.end()
  await world.settle()
  assert.ok(clients.every(({ text, ending }) => text === `${MEGABYTE.repeat(5)}end` && ending === 'whole'))
})

test('a reader further behind than what is kept is cut; the others are not', async () => {
  const world = new World()
  const slow = await world.ask({ takes: 1 })
  const fast = await world.ask()
  world.last.head()
  for (let count = 0; count < 10; count++) world.last.data(MEGABYTE)
  world.last.end()
  await world.settle()
  assert.deepEqual([slow.ending, slow.finished!.outcome], ['cut', 'cut'])
  assert.deepEqual([fast.ending, fast.text.length], ['whole', 10 * MEGABYTE.length])
})

test('many large calls together keep a bounded part each', async () => {
  const world = new World()
  const readers: Client[] = []
  for (let call = 0; call < 40; call++) {
    readers.push(await world.ask({ body: `${call}` }), await world.ask({ body: `${call}`, takes: 0 }))
    world.last.head()
    for (let count = 0; count < 3; count++) world.last.data(MEGABYTE)
  }
  const cut = readers.filter(({ ending }) => ending === 'cut').length
  // 64 MB are kept for the first; slow readers of the others are cut as soon as they are behind.
  assert.ok(cut >= 17 && cut < 40, `${cut} cut`)
  assert.ok(readers.every(({ text, takes }) => takes === 0 || text.length === 3 * MEGABYTE.length))
})

/** What may happen at random, to a client or the call. */
const EVENTS = ['join', 'join slow', 'leave', 'read', 'head', 'data', 'data', 'end', 'cut', 'refuse', 'fail', 'time']

test('whatever happens, each hears all of one call, or the start of one and a visible failure', t => {
  const event = fc.tuple(fc.constantFrom(...EVENTS), fc.nat())
  return fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 60 }), async events => {
      const world = new World()
      const clients: Client[] = []
      const told: string[] = []
      const ended = new Set<number>()
      const gone = new Set<Client>()
      for (const [kind, dice] of events) {
        await play(world, clients, told, ended, gone, kind, dice)
        await world.settle()
      }
      for (const client of clients) client.takes = Number.POSITIVE_INFINITY
      for (let round = 0; round < 3; round++) {
        world.calls.forEach((call, i) => {
          if (!ended.has(i) && !call.isAbandoned) finish(call, i, told)
          ended.add(i)
        })
        await world.settle()
      }
      for (const client of clients) if (!client.ending && !gone.has(client)) client.flow?.resume()
      await world.settle()
      for (const client of clients) {
        assert.ok(client.finished, 'every invocation ends')
        if (client.ending === 'whole') assert.ok(told.includes(client.text), `not one answer: ${client.text}`)
        else assert.ok(client.text === '' || told.some(text => text.startsWith(client.text)))
        assert.ok(client.ending !== undefined || gone.has(client), 'every client that stays hears an end')
      }
      const leaders = clients.filter(({ finished }) => !finished!.coalesced).length
      assert.equal(leaders, world.calls.length, 'one leader a call')
      assert.equal(world.kept.bytes, 0, 'nothing is kept')
    }),
    seeded(t, 1_000),
  )
})

async function play(
  world: World,
  clients: Client[],
  told: string[],
  ended: Set<number>,
  gone: Set<Client>,
  kind: string,
  dice: number,
): Promise<void> {
  if (kind.startsWith('join')) {
    const takes = kind === 'join' ? Number.POSITIVE_INFINITY : dice % 3
    clients.push(world.start({ takes, maxWaitMs: 1_000 + (dice % 5_000) }))
    return
  }
  if (kind === 'time') return world.clock.advance(dice % 2_000)
  const client = clients[dice % Math.max(1, clients.length)]
  if (kind === 'leave' && client && !client.ending) {
    gone.add(client)
    client.leave()
  }
  if (kind === 'read' && client?.flow && !client.ending && !gone.has(client)) {
    client.takes = 2
    client.flow.resume()
  }
  const at = dice % Math.max(1, world.calls.length)
  const call = world.calls[at]
  if (!call || ended.has(at) || call.isAbandoned) return
  const hasHead = told[at] !== undefined
  if (kind === 'head' && !hasHead) {
    told[at] = ''
    call.head()
  } else if (kind === 'data' && hasHead) {
    const text = `${at}.${told[at]!.length} `
    told[at] += text
    call.data(text)
  } else if (kind === 'end' && hasHead) {
    ended.add(at)
    call.end()
  } else if (kind === 'cut' && hasHead) {
    ended.add(at)
    call.cut()
  } else if (kind === 'refuse' && !hasHead) {
    ended.add(at)
    told[at] = ''
    call.refuse('wait-timeout')
  } else if (kind === 'fail' && !hasHead) {
    ended.add(at)
    told[at] = ''
    call.refuse('upstream-unreachable')
  }
}

function finish(call: World['last'], at: number, told: string[]): void {
  if (told[at] === undefined) call.head()
  told[at] ??= ''
  call.end()
}

test('who asks twice for a job gets two', async () => {
  const world = new World()
  await world.ask({ path: '/async-invoke' })
  await world.ask({ path: '/async-invoke' })
  assert.equal(world.calls.length, 2)
})
