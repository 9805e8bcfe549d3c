import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import { credentialedIdentities } from '../../src/identity/credentialed.ts'
import { credentialOf, KeyRing, keySha256, newKey, newSigningKey } from '../../src/identity/keys.ts'
import type { Who } from '../../src/identity/who.ts'
import { seeded } from '../support/seeds.ts'
import { presentedWith } from '../support/signed.ts'
import { VirtualClock } from '../support/virtualClock.ts'

const OLD = newKey(randomBytes)
const NEW = newKey(randomBytes)
const OTHER = newKey(randomBytes)
const RING = new KeyRing([
  { client: 'web', sha256: keySha256(OLD) },
  { client: 'web', sha256: keySha256(NEW).toUpperCase() },
  { client: 'batch', sha256: keySha256(OTHER) },
])

function who(headers: Record<string, string>): Who {
  const identities = credentialedIdentities({ keys: RING, signingKeys: new Map(), clock: new VirtualClock() })
  const found = identities.whoIs(presentedWith(headers))
  assert.ok(!(found instanceof Promise), 'a key is known at once')
  return found
}

/** Of the client `web`. */
function known(key: string): Who {
  return { kind: 'known', client: 'web', user: `key-${keySha256(key).slice(0, 12)}` }
}
function refusal(headers: Record<string, string>): string {
  const found = who(headers)
  return found.kind === 'denied' ? `${found.refusal.code}: ${found.refusal.message}` : `known: ${found.client}`
}
const UNKNOWN = 'unknown-key: The security token included in the request is invalid.'

test('a new key is long enough never to be guessed, and looks like nothing else', () => {
  assert.match(OLD, /^sluice_[\w-]{43}$/)
  assert.notEqual(OLD, NEW)
  const { accessKeyId, secret } = newSigningKey(randomBytes)
  assert.match(accessKeyId, /^SLUICE[A-Z2-7]{14}$/)
  assert.match(secret, /^[\w-]{40}$/)
  assert.notEqual(newSigningKey(randomBytes).secret, secret)
})

for (const [how, headers] of [
  ['as bearer', { authorization: `Bearer ${OLD}` }],
  ['as bearer in another spelling', { authorization: `bearer  ${OLD} ` }],
  ['as x-api-key', { 'x-api-key': OLD }],
  ['the second of two keys, its hash in capitals', { 'x-api-key': NEW }],
  ['as x-api-key beside the login of a proxy', { 'x-api-key': OLD, authorization: 'Basic dTpw' }],
] as const) {
  test(`a key is known: ${how}`, () => {
    assert.deepEqual(who(headers), known(how.startsWith('the second') ? NEW : OLD))
  })
}

test('every key is its own client’s', () => {
  assert.deepEqual(who({ 'x-api-key': OTHER }), { ...known(OTHER), client: 'batch' })
})

test('where bearer and x-api-key differ the bearer alone decides, right or wrong', () => {
  assert.equal(refusal({ authorization: `Bearer ${OTHER}`, 'x-api-key': OLD }), 'known: batch')
  assert.equal(refusal({ authorization: 'Bearer sk-ant-of-somebody', 'x-api-key': OLD }), UNKNOWN)
  assert.equal(credentialOf({ authorization: 'Bearer a', 'x-api-key': 'b' }), 'a')
})

for (const [what, key] of [
  ['a hash in place of the key', keySha256(OLD)],
  ['a key that is cut', OLD.slice(0, -1)],
  ['a key with something after it', `${OLD}x`],
  ['a key in other letters', OLD.toUpperCase()],
  ['a token, where no provider is configured', 'eyJhbGciOiJub25lIn0.eyJhenAiOiJ3ZWIifQ.'],
  ['a megabyte', 'x'.repeat(1 << 20)],
  ['what is on every object', '__proto__'],
]) {
  test(`${what} is unknown, in the words of AWS`, () => {
    assert.equal(refusal({ authorization: `Bearer ${key}` }), UNKNOWN)
    assert.equal(refusal({ 'x-api-key': key! }), UNKNOWN)
  })
}

for (const [what, headers] of [
  ['nothing', {}],
  ['an empty x-api-key', { 'x-api-key': '' }],
  ['a bearer without a token', { authorization: 'Bearer ' }],
  ['another scheme', { authorization: 'Basic dTpw' }],
  ['a key without a scheme', { authorization: OLD }],
] as const) {
  test(`${what} is no credential`, () => {
    assert.match(refusal(headers), /^no-credentials: Missing Authentication Token/)
  })
}

test('a key that differs in one character anywhere is nobody’s, and no refusal repeats what was sent', t => {
  fc.assert(
    fc.property(fc.nat(OLD.length - 1), fc.constantFrom('A', 'b', '7', '-'), (at, character) => {
      const key = OLD.slice(0, at) + character + OLD.slice(at + 1)
      const said = refusal({ authorization: `Bearer ${key}` })
      assert.equal(said, key === OLD ? 'known: web' : UNKNOWN)
    }),
    seeded(t, 100),
  )
})

test('half of a hash is not enough: the whole of it is compared', () => {
  const half = keySha256(OLD).slice(0, 32)
  const ring = new KeyRing([{ client: 'web', sha256: half + '0'.repeat(32) }])
  assert.equal(ring.holderOf(OLD), undefined)
})
