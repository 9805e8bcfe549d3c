// Usage of recorded responses, and of any bytes at all.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createUsageReader } from '../../src/wire/usage.ts'
import { seeded } from '../support/seeds.ts'
import { EVENT_STREAM, feed, JSON_BODY, operationOf, readUsage, SERVER_SENT_EVENTS } from './readResponse.ts'
import { loadRecordings, RECORDINGS_MISSING, usageShown } from './recordings.ts'

const ALL = loadRecordings()
const ANSWERS = ALL.filter(recording => recording.status === 200)

test('every recorded answer gives the usage it shows, whole', { skip: RECORDINGS_MISSING }, () => {
  assert.ok(ANSWERS.length >= 38, `only ${ANSWERS.length} answers recorded`)
  for (const recording of ANSWERS) {
    const reader = createUsageReader(operationOf(recording.path), recording.header)
    assert.deepEqual(feed(reader, recording.body), usageShown(recording), recording.title)
    assert.equal(reader.exception?.(), undefined, recording.title)
  }
})

test('the body says the same as the headers where a model writes both', { skip: RECORDINGS_MISSING }, () => {
  const saying = /anthropic|nova|titan|llama/
  const withHeaders = ANSWERS.filter(r => r.header('x-amzn-bedrock-output-token-count') && saying.test(r.title))
  assert.ok(withHeaders.length >= 14, `only ${withHeaders.length} answers recorded`)
  for (const recording of withHeaders)
    assert.deepEqual(readUsage(recording.path, JSON_BODY, recording.body), usageShown(recording), recording.title)
})

test('a recorded stream cut in two at every byte gives the same usage', { skip: RECORDINGS_MISSING }, () => {
  for (const recording of ANSWERS.filter(r => r.body.length < 6000)) {
    const shown = usageShown(recording)
    for (let cut = 1; cut < recording.body.length; cut += 1) {
      const reader = createUsageReader(operationOf(recording.path), recording.header)
      assert.deepEqual(feed(reader, recording.body, [cut]), shown, `${recording.title} cut at ${cut}`)
    }
  }
})

test('a recorded answer cut into any pieces, down to single bytes, gives the same usage', {
  skip: RECORDINGS_MISSING,
}, t => {
  for (const recording of ANSWERS) {
    const bytes = Array.from(recording.body, (_, i) => i + 1)
    const reader = createUsageReader(operationOf(recording.path), recording.header)
    assert.deepEqual(feed(reader, recording.body, bytes), usageShown(recording), recording.title)
  }
  const cuts = fc.array(fc.nat(50_000), { maxLength: 40 })
  const property = fc.property(fc.constantFrom(...ANSWERS), cuts, (recording, at) => {
    const reader = createUsageReader(operationOf(recording.path), recording.header)
    assert.deepEqual(feed(reader, recording.body, at), usageShown(recording))
  })
  fc.assert(property, seeded(t, 500))
})

test('a recorded stream that breaks off before its last event gives no usage', { skip: RECORDINGS_MISSING }, () => {
  const streams = ANSWERS.filter(r => r.header('content-type')?.includes('eventstream'))
  assert.ok(streams.length >= 16, `only ${streams.length} streams recorded`)
  for (const recording of streams) {
    const reader = createUsageReader(operationOf(recording.path), recording.header)
    assert.equal(feed(reader, recording.body.subarray(0, -1)), undefined, recording.title)
  }
})

test('a recorded error gives no usage and does not throw', { skip: RECORDINGS_MISSING }, () => {
  const errors = ALL.filter(recording => recording.status !== 200)
  assert.equal(errors.length, 2)
  for (const r of errors) assert.equal(feed(createUsageReader(operationOf(r.path), r.header), r.body), undefined)
})

const METERED = [
  '/model/m/invoke',
  '/model/m/invoke-with-response-stream',
  '/model/m/converse',
  '/model/m/converse-stream',
  '/async-invoke',
  '/openai/v1/chat/completions',
  '/openai/v1/responses',
  '/anthropic/v1/messages',
]

test('random bytes never throw and give no usage, whatever the operation and type', t => {
  const header = fc.constantFrom(EVENT_STREAM, SERVER_SENT_EVENTS, JSON_BODY, () => undefined)
  const pieces = fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 8 })
  const property = fc.property(fc.constantFrom(...METERED), header, pieces, (path, headers, chunks) => {
    const reader = createUsageReader(operationOf(path), headers)
    for (const chunk of chunks) reader.push(chunk)
    assert.equal(reader.end(), undefined)
  })
  fc.assert(property, seeded(t, 2000))
})

test('a real stream with some bytes overwritten never throws', { skip: RECORDINGS_MISSING }, t => {
  const edits = fc.array(fc.tuple(fc.nat(6000), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 })
  const property = fc.property(fc.constantFrom(...ANSWERS), edits, fc.nat(6000), (recording, changes, cut) => {
    const body = Buffer.from(recording.body)
    for (const [at, value] of changes) if (at < body.length) body[at] = value
    const reader = createUsageReader(operationOf(recording.path), recording.header)
    feed(reader, body, [cut])
    reader.exception?.()
  })
  fc.assert(property, seeded(t, 2000))
})

test('a compressed body is not mistaken for a body without usage that could be parsed', () => {
  const header = (name: string) => ({ 'content-type': 'application/json', 'content-encoding': 'gzip' })[name]
  const body = '{"usage":{"inputTokens":1,"outputTokens":2}}'
  assert.equal(readUsage('/model/m/converse', header, body), undefined)
})
