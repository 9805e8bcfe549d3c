import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isThrottle, throttleSubject } from '../../src/bedrock/throttle.ts'
import { errorTypeHeader } from '../../src/wire/exceptions.ts'

const AS_AWS = errorTypeHeader

for (const name of ['ThrottlingException', 'TooManyRequestsException', 'RequestLimitExceeded', 'Throttling']) {
  test(`${name} is a throttle, with AWS's suffix, a namespace or bare`, () => {
    assert.equal(isThrottle(429, AS_AWS(name)), true)
    assert.equal(isThrottle(429, name), true)
    assert.equal(isThrottle(400, `com.amazon.coral#${name}`), true)
  })
}

test('a 429 without a name is a throttle', () => {
  assert.equal(isThrottle(429, undefined), true)
})

test('a model that is not ready, a lasting quota and a refused request are no throttles: the client must hear them', () => {
  assert.equal(isThrottle(429, AS_AWS('ModelNotReadyException')), false)
  assert.equal(isThrottle(400, AS_AWS('ServiceQuotaExceededException')), false)
  assert.equal(isThrottle(400, AS_AWS('ValidationException')), false)
  assert.equal(isThrottle(400, undefined), false)
})

test('success, 5xx and 529 are no throttles, whatever they call themselves', () => {
  for (const status of [200, 403, 404, 408, 500, 503, 529]) {
    assert.equal(isThrottle(status, AS_AWS('ThrottlingException')), false)
    assert.equal(isThrottle(status, undefined), false)
  }
})

const SAID = {
  'Too many requests, please wait before trying again.': 'requests',
  'Too many tokens, please wait before trying again.': 'tokens',
  'Too many tokens per day, please wait before trying again.': 'day',
  'Rate exceeded': 'unclear',
  '': 'unclear',
}
for (const [message, of] of Object.entries(SAID)) {
  test(`"${message}" speaks of: ${of}`, () => {
    assert.equal(throttleSubject(Buffer.from(JSON.stringify({ message }))), of)
  })
}

test('bytes that are no text speak of nothing', () => {
  assert.equal(throttleSubject(Buffer.from([0xff, 0x00, 0xfe])), 'unclear')
})
