import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { rewriteBody, rewritePath } from '../../src/wire/modelIdRewrite.ts'
import { matchOperation } from '../../src/wire/operations.ts'
import { seeded } from '../support/seeds.ts'

const NEW = 'eu.anthropic.claude-sonnet-4-5-20250929-v1:0'

function rewritten(text: string, key = 'model', to = NEW): string {
  return rewriteBody(Buffer.from(text), key, to).toString()
}

test('in a path only the id segment changes; operation, base and query stay', () => {
  assert.equal(
    rewritePath('/model/us.x-v1%3A0/converse?a=/b', NEW),
    '/model/eu.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse?a=/b',
  )
})

test('an ARN put into a path keeps its slash escaped, and matches as the same operation', () => {
  const arn = 'arn:aws:bedrock:us-east-1:1:application-inference-profile/abc'
  const match = matchOperation('POST', rewritePath('/model/m/invoke', arn))
  assert.equal(match.kind === 'found' && match.route.id, arn)
})

test('in a body only the bytes of the top-level model change: spacing, key order, escapes and numbers stay', () => {
  const before = '{ "n":1.0,\n"id":12345678901234567890, "model" :\t"old" , "s":"\\u00e9 é 💧" }'
  assert.equal(rewritten(before), before.replace('"old"', JSON.stringify(NEW)))
})

test('a nested model of the same id is left alone, before and after the top-level one', () => {
  const before = '{"tools":[{"model":"old"}],"model":"old","metadata":{"model":"old","modelId":"old"}}'
  const after = `{"tools":[{"model":"old"}],"model":"${NEW}","metadata":{"model":"old","modelId":"old"}}`
  assert.equal(rewritten(before), after)
})

test("a prompt that spells out the key and the id isn't touched", () => {
  const before = '{"messages":[{"content":"set \\"model\\": \\"old\\" please"}],"model":"old"}'
  assert.equal(rewritten(before), before.replace(/"old"}$/, `"${NEW}"}`))
})

test('the modelId of an async invocation is replaced', () => {
  assert.equal(rewritten('{"modelId":"old","modelInput":{"modelId":"old"}}', 'modelId').indexOf(NEW), 12)
})

test('an id with dollar signs arrives as it is spelt in the config', () => {
  assert.equal(rewritten('{"model":"old"}', 'model', "$&$1$'"), `{"model":"$&$1$'"}`)
})

test('a body whose slashes are escaped, as PHP writes them, gets the new id too', () => {
  const arn = 'arn:aws:bedrock:us-east-1:1:application-inference-profile/abc'
  assert.equal(rewritten(`{"model":"${arn.replace('/', '\\/')}"}`), `{"model":"${NEW}"}`)
})

test('a body whose model is written with unicode escapes gets the new id too', () => {
  assert.equal(rewritten('{"mod\\u0065l":"\\u006fld"}').includes(NEW), true)
})

test('bytes that are no UTF-8 stay the bytes that came', () => {
  const before = Buffer.concat([Buffer.from('{"model":"old","s":"'), Buffer.from([0xe9, 0xff]), Buffer.from('"}')])
  const after = rewriteBody(before, 'model', 'new')
  assert.deepEqual(after, Buffer.concat([Buffer.from('{"model":"new"'), before.subarray('{"model":"old"'.length)]))
})

test('thousands of nested models are passed over, and a repeated key is replaced where readers take it', () => {
  const nested = '{"model":"old"},'.repeat(4_000)
  const before = `{"tools":[${nested}1],"model":"first","model":"old"}`
  assert.equal(rewritten(before), before.replace(/"old"}$/, `"${NEW}"}`))
})

test('a body without the key, or with no text under it, stays as it is', () => {
  for (const body of ['{"n":1}', '{"model":5}', '{"model":{"model":"old"}}', '{}', ''])
    assert.equal(rewritten(body), body)
})

test('for any body, what changes when parsed is the top-level model alone', t => {
  const json = fc.jsonValue({ maxDepth: 4 })
  const nested = fc.record({ model: fc.constantFrom('old', 'other'), rest: json })
  fc.assert(
    fc.property(fc.dictionary(fc.string(), fc.oneof(json, nested)), fc.boolean(), (extra, first) => {
      const { model: _dropped, ...rest } = extra
      const body = first ? { model: 'old', ...rest } : { ...rest, model: 'old' }
      const result: unknown = JSON.parse(rewritten(JSON.stringify(body)))
      assert.deepEqual(result, JSON.parse(JSON.stringify({ ...body, model: NEW })))
    }),
    seeded(t, 100),
  )
})
