import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, test } from 'node:test'
import fc from 'fast-check'
import { Presence } from '../../src/gateway/presence.ts'
import { Stage } from '../../src/gateway/stage.ts'
import { DemandReaders, LARGE_BYTES } from '../../src/http/demandReaders.ts'
import { readDemand } from '../../src/wire/demand.ts'
import { payloadHash } from '../../src/wire/payloadHash.ts'
import { seeded } from '../support/seeds.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { until } from '../support/wire.ts'
import { operationOf } from '../wire/readResponse.ts'

const CONVERSE = operationOf('/model/m/converse')
const CHAT = operationOf('/openai/v1/chat/completions')
const OBEDIENT = new URL('../support/obedientReader.ts', import.meta.url)

let endings: (() => unknown)[] = []
afterEach(async () => {
  for (const end of endings) await end()
  endings = []
})

function start({ limit = 256, worker = undefined as URL | undefined } = {}) {
  const clock = new VirtualClock()
  const faults: unknown[] = []
  const stage = new Stage('price', limit, clock, { observe() {} })
  const readers = new DemandReaders({ stage, clock, fault: error => faults.push(error), ...(worker && { worker }) })
  endings.push(() => readers.close())
  const read = (body: Buffer, presence = new Presence()) => readers.readLarge(CONVERSE, body, 'high', presence)
  return { clock, faults, stage, readers, read }
}

/** A large body that orders its reader about. */
function ordering(order: string): Buffer {
  return Buffer.from(JSON.stringify({ order, messages: [], filler: 'x'.repeat(LARGE_BYTES) }))
}

const large = fc
  .record({
    body: fc.oneof(fc.json(), fc.string()),
    filler: fc.string({ minLength: 1, maxLength: 50, unit: 'binary' }),
    cap: fc.oneof(fc.integer(), fc.string(), fc.constant(undefined)),
    shape: fc.constantFrom('text', 'image', 'broken', 'raw'),
    model: fc.oneof(fc.string(), fc.integer()),
  })
  .map(({ body, filler, cap, shape, model }) => {
    const text = filler.repeat(Math.ceil(LARGE_BYTES / filler.length))
    if (shape === 'raw') return Buffer.from(body + text)
    const block =
      shape === 'image'
        ? { image: { format: 'png', source: { bytes: Buffer.from(text).toString('base64') } } }
        : { text: text + body }
    const whole = JSON.stringify({
      messages: [{ role: 'user', content: [block] }],
      inferenceConfig: { maxTokens: cap },
      max_tokens: cap,
      model,
    })
    return Buffer.from(shape === 'broken' ? whole.slice(0, -1) : whole)
  })

test('a body read in a thread of its own demands what it demands read in place, and comes back byte for byte', async t => {
  const { readers } = start()
  await fc.assert(
    fc.asyncProperty(large, fc.constantFrom(CONVERSE, CHAT), async (body, operation) => {
      const inPlace = readDemand(operation, body)
      const before = Buffer.from(body)
      const reading = await readers.readLarge(operation, body, 'normal', new Presence())
      assert.ok(reading.kind === 'read')
      assert.deepEqual(reading.result, inPlace)
      assert.ok(reading.body.equals(before))
      assert.equal(payloadHash(reading.body), hash('sha256', before, 'hex'))
    }),
    seeded(t, 60),
  )
})

test('a part of a larger piece of memory is read without taking the rest away', async () => {
  const { read } = start()
  const whole = Buffer.concat([ordering('nothing'), Buffer.from('the rest')])
  const reading = await read(whole.subarray(0, whole.length - 8))
  assert.ok(reading.kind === 'read' && reading.result.kind === 'ok')
  assert.equal(whole.toString('latin1', whole.length - 8), 'the rest')
})

test('a slow body holds up neither other large ones nor small ones', async () => {
  const { read, readers } = start({ worker: OBEDIENT })
  const folder = mkdtempSync(join(tmpdir(), 'reader-'))
  endings.push(() => rmSync(folder, { recursive: true }))
  const gate = join(folder, 'gate')
  writeFileSync(gate, '')
  const order: string[] = []
  const slow = read(ordering(`await ${gate}`)).then(() => order.push('slow'))
  await Promise.all([1, 2, 3].map(i => read(ordering('nothing')).then(() => order.push(`large ${i}`))))
  assert.equal(readers.readSmall(CONVERSE, Buffer.from('{}')).kind, 'ok')
  assert.deepEqual(order, ['large 1', 'large 2', 'large 3'])
  writeFileSync(gate, 'open')
  await slow
})

for (const order of ['die', 'throw']) {
  test(`a reader that is made to ${order} takes one request with it, and is replaced`, async () => {
    const { read, faults, stage } = start({ worker: OBEDIENT })
    const readings = await Promise.all(['nothing', order, 'nothing', order, 'nothing'].map(one => read(ordering(one))))
    assert.deepEqual(
      readings.map(reading => reading.kind),
      ['read', 'refused', 'read', 'refused', 'read'],
    )
    const refusals = readings.flatMap(reading => (reading.kind === 'refused' ? [reading.refusal.code] : []))
    assert.deepEqual(refusals, ['internal', 'internal'])
    assert.equal(faults.length, 2)
    assert.equal(stage.depth, 0)
  })
}

test('a reader that cannot be started at all refuses each large body, and hangs none', async () => {
  const { read, faults, stage } = start({ worker: new URL('./nothing-here.ts', import.meta.url) })
  const readings = await Promise.all([1, 2, 3].map(() => read(ordering('nothing'))))
  assert.ok(readings.every(reading => reading.kind === 'refused' && reading.refusal.code === 'internal'))
  assert.equal(faults.length, 3)
  assert.equal(stage.depth, 0)
})

test('a body that takes for ever is given up after ten seconds, and so is its reader', async () => {
  const { clock, read, stage, faults } = start({ worker: OBEDIENT })
  const stuck = [read(ordering('hang')), read(ordering('hang'))]
  const next = read(ordering('nothing'))
  await clock.advance(9_999)
  assert.equal(stage.depth, 3)
  await clock.advance(1)
  for (const reading of await Promise.all(stuck)) {
    assert.ok(reading.kind === 'refused' && reading.refusal.code === 'overloaded' && reading.refusal.retryAfterMs)
  }
  assert.equal((await next).kind, 'read', 'fresh readers have taken over')
  assert.deepEqual(faults, [])
  assert.equal(stage.depth, 0)
})

test('more large bodies than the stage takes are refused at once, with a time to come back', async () => {
  const { clock, read, stage } = start({ limit: 2, worker: OBEDIENT })
  const stuck = [read(ordering('hang')), read(ordering('hang'))]
  const reading = await read(ordering('nothing'))
  assert.ok(reading.kind === 'refused' && reading.refusal.code === 'overloaded' && reading.refusal.retryAfterMs! >= 100)
  assert.deepEqual(stage.refused, [1, 0, 0])
  await clock.advance(10_000)
  await Promise.all(stuck)
})

test('a body whose client has left meanwhile is not read', async () => {
  const { clock, read, stage } = start({ worker: OBEDIENT })
  const stuck = [read(ordering('hang')), read(ordering('hang'))]
  const presence = new Presence()
  const left = read(ordering('die'), presence)
  presence.leave()
  await clock.advance(10_000)
  await Promise.all(stuck)
  assert.equal((await left).kind, 'gone')
  await until(() => stage.depth === 0, 'nobody is left')
})
