import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isFailure } from '../../src/bedrock/failure.ts'
import { EXCEPTION_STATUS, errorTypeHeader } from '../../src/wire/exceptions.ts'

test('of all exceptions of Bedrock Runtime only the ones that the AWS SDKs retry and that are no throttles are failures', () => {
  const failures = Object.entries(EXCEPTION_STATUS).filter(([name, status]) => isFailure(status, errorTypeHeader(name)))
  assert.deepEqual(
    failures.map(([name]) => name),
    ['InternalServerException', 'ModelNotReadyException', 'ServiceUnavailableException'],
  )
})

test("a gateway's 502 and 504 and the Messages route's 529 are failures, whatever they call themselves", () => {
  for (const status of [500, 502, 503, 504, 529]) assert.equal(isFailure(status, undefined), true)
  for (const status of [200, 400, 403, 404, 408, 424, 429, 501, 505]) assert.equal(isFailure(status, undefined), false)
})
