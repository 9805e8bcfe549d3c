import assert from 'node:assert/strict'
import { test } from 'node:test'
import { errors } from 'undici'
import { upstreamFault } from '../../src/bedrock/upstreamFault.ts'

const WHERE = 'connect 10.1.2.3:443 secret-host'
const coded = (code: string) => Object.assign(new Error(WHERE), { code })

const CASES: [what: string, error: unknown, before: string, sent: string][] = [
  ['no headers in time', new errors.HeadersTimeoutError(WHERE), 'upstream-timeout', 'upstream-timeout'],
  ['silence in the middle', new errors.BodyTimeoutError(WHERE), 'upstream-timeout', 'upstream-timeout'],
  ['an answer that is no HTTP', new errors.HTTPParserError(WHERE), 'upstream-invalid', 'upstream-invalid'],
  ['headers without end', new errors.HeadersOverflowError(WHERE), 'upstream-invalid', 'upstream-invalid'],
  ['no connection in time', new errors.ConnectTimeoutError(WHERE), 'upstream-unreachable', 'upstream-cut'],
  ['a refused connection', coded('ECONNREFUSED'), 'upstream-unreachable', 'upstream-cut'],
  ['a reset', coded('ECONNRESET'), 'upstream-unreachable', 'upstream-cut'],
  ['a closed socket', new errors.SocketError(WHERE), 'upstream-unreachable', 'upstream-cut'],
  ['something that is no Error', WHERE, 'upstream-unreachable', 'upstream-cut'],
  ['nothing', undefined, 'upstream-unreachable', 'upstream-cut'],
]

for (const [what, error, before, sent] of CASES) {
  test(`${what} is ${before} before the call was sent and ${sent} after, and tells nothing of where`, () => {
    assert.deepEqual([upstreamFault(error, false).code, upstreamFault(error, true).code], [before, sent])
    for (const { message } of [upstreamFault(error, false), upstreamFault(error, true)]) {
      assert.doesNotMatch(message, /10\.1\.2\.3|secret-host|443/)
      assert.ok(message.length > 20)
    }
  })
}

test('missing credentials are named as such: no retry cures them', () => {
  const refusal = upstreamFault(Object.assign(new Error(WHERE), { name: 'CredentialsProviderError' }), false)
  assert.match(refusal.message, /credentials/)
  assert.doesNotMatch(refusal.message, /secret-host/)
})

test("a fault's code is told: it says which kind of fault, and nothing else", () => {
  assert.match(upstreamFault(coded('ECONNREFUSED'), false).message, /ECONNREFUSED/)
})
