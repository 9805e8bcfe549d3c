// When an operator is told that output caps are too large, and what to do about it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { adviceOn } from '../../src/domain/advice.ts'

function status(reservedTokens: number, chargedTokens: number, quotas: (number | undefined)[] = [100_000, 100_000]) {
  const pools = quotas.map((quotaPerMinute, i) => ({
    pool: `p${i}`,
    isOpen: true,
    gate: 'open' as const,
    savedTokens: 0,
    ...(quotaPerMinute !== undefined && { tokens: { quotaPerMinute, burst: 0, level: 0 } }),
  }))
  return { settled: { reservedTokens, chargedTokens }, pools }
}

test('reservations of more than three times the charges are advised on, by what is set already', () => {
  const said = (mode: 'off' | 'fixed' | 'learned') => adviceOn(mode, status(60_000, 5_000)).join()
  assert.match(said('off'), /reserved 12 times .* outputCap\.mode to learned/)
  assert.match(said('fixed'), /outputCap\.tokens lower/)
  assert.match(said('learned'), /clients' own caps/)
  assert.deepEqual(adviceOn('off', status(60_000, 20_000)), [], 'three times is not more')
})

test('nothing is said of too few tokens to judge by, nor of a model whose tokens no quota counts', () => {
  assert.deepEqual(adviceOn('off', status(19_999, 0)), [])
  assert.match(adviceOn('off', status(20_000, 0)).join(), /20000 times/)
  assert.deepEqual(adviceOn('off', status(1e9, 0, [100_000, undefined])), [])
})
