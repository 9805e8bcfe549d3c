// Which trace a client says its request belongs to.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { traceIdOf } from '../../src/http/traceparent.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'

test('a valid traceparent names its trace, sampled or not, of this version or one to come', () => {
  for (const text of [`00-${TRACE}-${PARENT}-01`, `00-${TRACE}-${PARENT}-00`, `cc-${TRACE}-${PARENT}-01-what-will-be`])
    assert.equal(traceIdOf(text), TRACE, text)
})

test('what is no valid traceparent names no trace', () => {
  const wrong = [
    undefined,
    '',
    TRACE,
    `00-${TRACE}-${PARENT}`,
    `00-${TRACE}-${PARENT}-01-more`,
    `00-${TRACE}-${PARENT}-01-`,
    `ff-${TRACE}-${PARENT}-01`,
    `00-${'0'.repeat(32)}-${PARENT}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${PARENT}-01`,
    `00-${TRACE.slice(1)}-${PARENT}-01`,
    ` 00-${TRACE}-${PARENT}-01`,
    `cc-${TRACE}-${PARENT}-01x`,
    `cc-${TRACE}-${PARENT}-01-${'x'.repeat(1_000)}`,
    // Twice, as node joins them.
    `00-${TRACE}-${PARENT}-01, 00-${TRACE}-${PARENT}-01`,
    [`00-${TRACE}-${PARENT}-01`],
  ]
  for (const text of wrong) assert.equal(traceIdOf(text), undefined, String(text))
})
