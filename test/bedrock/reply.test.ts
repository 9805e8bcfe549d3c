// A reply on its way back, where time decides what becomes of it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Dispatcher } from 'undici'
import { Reply } from '../../src/bedrock/reply.ts'
import type { Receiver } from '../../src/gateway/ports.ts'
import { matchOperation } from '../../src/wire/operations.ts'
import { VirtualClock } from '../support/virtualClock.ts'

test('an error that is handed on late, with a head that nobody can write, ends its call and throws in no timer', async () => {
  const clock = new VirtualClock()
  const heard: string[] = []
  const receiver: Receiver = {
    head() {
      throw new TypeError('no such header can be written')
    },
    data: () => void heard.push('data'),
    end: () => void heard.push('end'),
    throttled: () => void heard.push('throttled'),
    errored: () => void heard.push('errored'),
    failed: ({ code }, sent) => void heard.push(`${code} ${sent}`),
  }
  const match = matchOperation('POST', '/model/m/converse')
  assert.ok(match.kind === 'found')
  const reply = new Reply(match.route.operation, receiver, clock)
  const controller: Dispatcher.DispatchController = {
    rawHeaders: ['x-amzn-ErrorType', 'ServiceUnavailableException'],
    aborted: false,
    paused: false,
    reason: null,
    abort: error => reply.onResponseError(controller, error),
    pause() {},
    resume() {},
  }
  reply.onRequestStart(controller)
  reply.onResponseStart(controller, 503)
  await clock.advance(10_000)
  assert.deepEqual(heard, ['upstream-cut true'])
})
