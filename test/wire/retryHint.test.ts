import assert from 'node:assert/strict'
import { test } from 'node:test'
import { retryHintMs } from '../../src/wire/retryHint.ts'

const NOW = Date.UTC(2026, 10, 22, 12, 0, 0)

const HINTS: [string[], number | undefined][] = [
  [['retry-after', '2'], 2_000],
  [['Retry-After', ' 0.5 '], 500],
  [['Retry-After', 'Sun, 22 Nov 2026 12:00:07 GMT'], 7_000],
  [['Retry-After', 'Sun, 22 Nov 2026 11:00:00 GMT'], 0],
  [['x-amz-retry-after', '1500'], 1_500],
  [['retry-after-ms', '250'], 250],
  [['x-amz-retry-after', '1500', 'retry-after', '3'], 3_000],
  [['retry-after', 'soon', 'x-amz-retry-after', '1500'], 1_500],
  [['retry-after', '-1'], undefined],
  [['x-amz-retry-after', 'NaN'], undefined],
  [['x-amz-retry-after', ''], undefined],
  [[], undefined],
]
for (const [headers, hintMs] of HINTS) {
  test(`${JSON.stringify(headers)} says ${hintMs === undefined ? 'nothing' : `${hintMs} ms`}`, () => {
    assert.equal(retryHintMs(headers, NOW), hintMs)
  })
}
