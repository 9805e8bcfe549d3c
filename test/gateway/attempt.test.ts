// One send, told by hand.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Attempt } from '../../src/gateway/attempt.ts'
import type { Finished } from '../../src/gateway/ports.ts'
import { Recorder } from '../support/virtualGateway.ts'

const NOTES = { pool: 'p', waitMs: 0, attempts: 1 }
const CUT = { code: 'upstream-cut', message: 'x' } as const
const FLOW = { pause() {}, resume() {} }

class Unwritable extends Recorder {
  override head(): never {
    throw new Error('a header that no protocol carries')
  }
}

function attemptFor(answer: Recorder): Attempt {
  return new Attempt(answer, NOTES, () => {}, undefined)
}

test('a head that cannot be written to the client would be no better a second time: the call is not sent again', () => {
  const answer = new Unwritable()
  const attempt = attemptFor(answer)
  assert.throws(() => attempt.head(200, [], FLOW))
  attempt.failed(CUT, true)
  assert.equal(attempt.isRepeatable, false)
  attempt.deliver({} as Finished)
  assert.deepEqual(answer.said, ['refuse upstream-cut'])
})

test('a reply that was held back and cannot be written is refused, not left unanswered', () => {
  const answer = new Unwritable()
  const attempt = attemptFor(answer)
  attempt.errored({ status: 503, headers: ['x', '\0'], body: Buffer.from('x') })
  assert.equal(attempt.isRepeatable, true)
  attempt.deliver({} as Finished)
  assert.deepEqual(answer.said, ['refuse upstream-invalid'])
})

test('whatever is heard after the end changes nothing', () => {
  const answer = new Recorder()
  const attempt = attemptFor(answer)
  attempt.errored({ status: 500, headers: [], body: Buffer.from('x') })
  attempt.head(200, [], FLOW)
  attempt.data(Buffer.from('x'))
  attempt.end(undefined)
  attempt.failed(CUT, true)
  attempt.throttled({ status: 429, headers: [], body: Buffer.from('x') }, 'tokens')
  assert.deepEqual(
    [answer.said, attempt.isRepeatable, attempt.isThrottled, attempt.isDoubtful],
    [[], true, false, false],
  )
})
