import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LocalShare } from '../../src/redis/localShare.ts'

const near = (actual: number, expected: number) => assert.ok(Math.abs(actual - expected) < 1e-9, `${actual}`)

test('alone, a gateway may use its share of late, halfway to an equal one, less a tenth', () => {
  near(new LocalShare(0.6, 4).share, 0.9 * (0.3 + 0.125))
  near(new LocalShare(1, 1).share, 0.9)
})

test('gateways of unequal shares use no more than nine tenths of the quota between them', () => {
  const sum = [0.7, 0.2, 0.1, 0].reduce((total, share) => total + new LocalShare(share, 4).share, 0)
  near(sum, 0.9)
})

test('a share grows by 3 % a second while there is a backlog, up to the whole quota, and not otherwise', () => {
  const share = new LocalShare(0.5, 2)
  share.pass(1_000, false)
  near(share.share, 0.45)
  share.pass(2_000, true)
  near(share.share, 0.45 * 1.03 ** 2)
  share.pass(1_000_000, true)
  near(share.share, 1)
})

test('a throttle cuts the share by a fifth, once in two seconds however many there are', () => {
  const share = new LocalShare(1, 1)
  share.throttled(0)
  share.throttled(1_999)
  near(share.share, 0.72)
  share.throttled(2_000)
  near(share.share, 0.576)
})

test('a share never falls to nothing, whatever was served and however often it is cut', () => {
  const share = new LocalShare(0, 1_000_000)
  near(share.share, 0.01)
  share.throttled(0)
  near(share.share, 0.01)
  near(new LocalShare(0, 0).share, 0.45)
})
