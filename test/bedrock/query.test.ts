import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { withoutSignature } from '../../src/bedrock/query.ts'
import { seeded } from '../support/seeds.ts'

const PRESIGNED = [
  ...['X-Amz-Algorithm=AWS4-HMAC-SHA256', 'X-Amz-Credential=AKID%2F20261122', 'X-Amz-Date=20261122T000000Z'],
  ...['X-Amz-Expires=60', 'X-Amz-SignedHeaders=host', 'X-Amz-Security-Token=secret', 'X-Amz-Signature=00'],
]

test("a presigned URL's signature and token do not cross, however their names are spelt", () => {
  assert.equal(withoutSignature(`/async-invoke?${PRESIGNED.join('&')}`), '/async-invoke')
  assert.equal(withoutSignature('/async-invoke?x-amz-signature=0&a=1&X%2DAmz%2dSecurity-Token=t'), '/async-invoke?a=1')
})

test('other parameters keep their bytes, order and repetitions, whatever stands beside them', t => {
  const pair = fc.constantFrom(
    'a=1',
    'a=1',
    'b',
    '=',
    '',
    '%zz=1',
    'maxResults=5',
    'type=%41',
    'xx-amz-a=1',
    'c==',
    'd=?',
  )
  const pairs = fc.array(fc.tuple(pair, fc.boolean()), { minLength: 1 })
  fc.assert(
    fc.property(pairs, fc.constantFrom(...PRESIGNED), (all, signing) => {
      const wanted = all.map(([one]) => one)
      const sent = all.flatMap(([one, isFollowed]) => (isFollowed ? [one, signing] : [one]))
      assert.equal(withoutSignature(`/p?${sent.join('&')}`), `/p?${wanted.join('&')}`)
    }),
    seeded(t, 100),
  )
  assert.equal(withoutSignature('/p'), '/p')
})
