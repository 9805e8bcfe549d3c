import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { before, test } from 'node:test'
import { exportSPKI, SignJWT } from 'jose'
import { credentialedIdentities } from '../../src/identity/credentialed.ts'
import { type JwtSettings, MOST_WAITING, Tokens } from '../../src/identity/jwt.ts'
import { fixedKeySet, type KeySet, KeysAway } from '../../src/identity/keySet.ts'
import { KeyRing } from '../../src/identity/keys.ts'
import type { Who } from '../../src/identity/who.ts'
import {
  AUDIENCE,
  type Claims,
  ISSUER,
  rightClaims,
  type SigningPair,
  signed,
  signingPair,
} from '../support/identityProvider.ts'
import { presentedWith } from '../support/signed.ts'
import { VirtualClock } from '../support/virtualClock.ts'

const SETTINGS: JwtSettings = {
  issuer: ISSUER,
  audience: [AUDIENCE, 'sluice-staging'],
  audienceClaim: 'aud',
  algorithms: ['RS256', 'PS256', 'ES256', 'EdDSA'],
  clockSkewS: 30,
  clientClaim: ['azp', 'client_id'],
  userClaim: 'sub',
  priorityClaim: 'sluice_priority',
}
const CLIENTS: Record<string, string> = { web: 'web', '5f2c-entra-id': 'mobile' }

let rsa: SigningPair
let ec: SigningPair
let ed: SigningPair
let stranger: SigningPair
/** Its JWK does not say for which algorithm it is. */
let bare: SigningPair
let keys: KeySet
before(async () => {
  rsa = await signingPair('RS256', 'rsa')
  ec = await signingPair('ES256', 'ec')
  ed = await signingPair('EdDSA', 'ed')
  stranger = await signingPair('RS256', 'rsa')
  bare = await signingPair('RS256', 'bare')
  const { alg: _alg, ...jwk } = bare.jwk
  keys = fixedKeySet({ keys: [rsa.jwk, ec.jwk, ed.jwk, jwk] })
})

interface Bench {
  clock: VirtualClock
  tokens: Tokens
  /** How often a key was looked for, which is how often a signature was verified. */
  verified: () => number
}

function bench(settings: Partial<JwtSettings> = {}, keySet: KeySet = keys): Bench {
  const clock = new VirtualClock()
  let looked = 0
  const counted: KeySet = {
    keyFor(header) {
      looked += 1
      return keySet.keyFor(header)
    },
  }
  const clientOf = (claim: string) => (Object.hasOwn(CLIENTS, claim) ? CLIENTS[claim] : undefined)
  const tokens = new Tokens({ settings: { ...SETTINGS, ...settings }, keys: counted, clientOf, clock })
  return { clock, tokens, verified: () => looked }
}

async function whoHas(claims: Claims, settings: Partial<JwtSettings> = {}, pair = rsa): Promise<Who> {
  const { clock, tokens } = bench(settings)
  return tokens.whoIs(await signed(pair, { ...rightClaims(clock.nowMs()), ...claims }))
}

function said(who: Who): string {
  return who.kind === 'denied' ? `${who.refusal.code}: ${who.refusal.message}` : 'known'
}

const INVALID = 'unknown-key: The security token included in the request is invalid'
const ANN = { kind: 'known', client: 'web', user: 'ann', isUserProven: true }

test('RS256, ES256 and EdDSA signatures are taken, and the claims say who it is', async () => {
  for (const pair of [rsa, ec, ed, bare]) assert.deepEqual(await whoHas({}, {}, pair), ANN)
})

test('the client is named by azp, else by client_id, by its own name or an id of the provider’s', async () => {
  const client = async (claims: Claims) => {
    const who = await whoHas(claims)
    return who.kind === 'known' ? who.client : said(who)
  }
  assert.equal(await client({ azp: '5f2c-entra-id' }), 'mobile')
  assert.equal(await client({ azp: undefined, client_id: 'web' }), 'web')
  assert.equal(await client({ azp: 'web', client_id: '5f2c-entra-id' }), 'web')
  assert.equal(await client({ azp: 'nobody', client_id: 'web' }), `${INVALID}: no client is called what its azp says.`)
  assert.equal(await client({ azp: '__proto__' }), `${INVALID}: no client is called what its azp says.`)
  assert.equal(await client({ azp: undefined }), `${INVALID}: it has no azp or client_id.`)
  assert.equal(await client({ azp: ['web'] }), `${INVALID}: it has no azp or client_id.`)
})

test('without a user claim the header may name the user; one that is no name is not let in by the header', async () => {
  assert.deepEqual(await whoHas({ sub: undefined }), { kind: 'known', client: 'web', user: 'web' })
  assert.deepEqual(await whoHas({ sub: undefined, uid: 7 }, { userClaim: 'uid' }), { ...ANN, user: '7' })
  assert.deepEqual(await whoHas({ sub: 'Zoë 🙂' }), { ...ANN, user: 'Zoë 🙂' })
  for (const sub of ['', null, {}, ['ann'], true, 'x'.repeat(257), 'ann\n', '\u0000', '\ud800'])
    assert.equal(said(await whoHas({ sub })), `${INVALID}: its sub is no name.`)
})

test('the priority claim is the class and the highest one; another word is left unread', async () => {
  const low = { priority: 'low', maxPriority: 'low' }
  assert.deepEqual(await whoHas({ sluice_priority: 'low' }), { ...ANN, ...low })
  assert.deepEqual(await whoHas({ sluice_priority: 'LOW' }), { ...ANN, ...low })
  for (const sluice_priority of ['urgent', 3, null, ['high'], ''])
    assert.deepEqual(await whoHas({ sluice_priority }), ANN)
  assert.deepEqual(await whoHas({ sluice_priority: 'low' }, { priorityClaim: undefined }), ANN)
})

test('the audience must be one of ours, alone or in a list, in the claim that the config names', async () => {
  assert.deepEqual(await whoHas({ aud: ['account', 'sluice-staging'] }), ANN)
  for (const aud of ['sluice2', ['account'], [], undefined, { sluice: 1 }, [['sluice']]])
    assert.equal(said(await whoHas({ aud })), `${INVALID}: its aud is another.`)
  assert.deepEqual(await whoHas({ aud: undefined, scope: AUDIENCE }, { audienceClaim: 'scope' }), ANN)
})

test('issuer, times and their absence', async () => {
  const nowS = new VirtualClock().nowMs() / 1000
  assert.equal(said(await whoHas({ iss: `${ISSUER}/` })), `${INVALID}: its iss is another.`)
  assert.equal(said(await whoHas({ iss: undefined })), `${INVALID}: it has no iss.`)
  assert.equal(said(await whoHas({ exp: undefined })), `${INVALID}: it has no exp.`)
  assert.equal(said(await whoHas({ nbf: nowS + 31 })), `${INVALID}: it is not valid yet.`)
  assert.equal(said(await whoHas({ nbf: nowS + 29 })), 'known')
  assert.equal(said(await whoHas({ exp: nowS - 29 })), 'known')
  const EXPIRED = 'expired-token: The security token included in the request is expired'
  assert.equal(said(await whoHas({ exp: nowS - 30 })), EXPIRED)
  assert.equal(said(await whoHas({ exp: nowS - 1 }, { clockSkewS: 0 })), EXPIRED)
})

const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

test('algorithm confusion: no signature, or one made with what is public, is never taken', async () => {
  const claims = rightClaims(new VirtualClock().nowMs())
  const pem = await exportSPKI(rsa.publicKey)
  const hs256 = (secret: string) => {
    const text = `${b64({ alg: 'HS256', kid: 'rsa' })}.${b64(claims)}`
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
  }
  const right = await signed(rsa, claims)
  const [, payload, signature] = right.split('.')
  const forged: Record<string, string> = {
    'alg none': `${b64({ alg: 'none' })}.${b64(claims)}.`,
    'alg None, with a signature': `${b64({ alg: 'None', kid: 'rsa' })}.${b64(claims)}.${signature}`,
    'HS256 by the public PEM': hs256(pem),
    'HS256 by the public JWK': hs256(JSON.stringify(rsa.jwk)),
    'HS256 by the modulus': hs256(rsa.jwk.n!),
    'a key of its own in the header': await signed(stranger, claims, { jwk: stranger.jwk }),
    'a key elsewhere in the header': await signed(stranger, claims, { jku: 'http://127.0.0.1:1/keys' }),
    'another’s key of the same id': await signed(stranger, claims),
    'the key of another algorithm': await signed(rsa, claims, { kid: 'ec' }),
    'an unknown kid': await signed(rsa, claims, { kid: 'other' }),
    'no algorithm': `${b64({ kid: 'rsa' })}.${payload}.${signature}`,
    'a critical extension': await signed(rsa, claims, { kid: 'rsa' }).then(
      token => `${b64({ alg: 'RS256', kid: 'rsa', crit: ['x'], x: 1 })}.${token.split('.').slice(1).join('.')}`,
    ),
    'other claims under the same signature': `${right.split('.')[0]}.${b64({ ...claims, sub: 'bob' })}.${signature}`,
    'a signature cut short': right.slice(0, -2),
    'an allowed key, an algorithm that is not': await new SignJWT(claims)
      .setProtectedHeader({ alg: 'RS512', kid: 'bare' })
      .sign(
        await crypto.subtle.importKey(
          'pkcs8',
          await pkcs8(bare),
          { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-512' },
          false,
          ['sign'],
        ),
      ),
    'claims that are no object': `${right.split('.')[0]}.${b64('ann')}.${signature}`,
    'nothing but dots': 'eyJ..',
  }
  for (const [what, token] of Object.entries(forged)) {
    const { tokens } = bench()
    assert.equal(said(await tokens.whoIs(token)), `${INVALID}.`, what)
  }
})

async function pkcs8(pair: SigningPair): Promise<ArrayBuffer> {
  return crypto.subtle.exportKey('pkcs8', pair.privateKey)
}

test('a verified token is remembered for a minute, and then verified again', async () => {
  const { clock, tokens, verified } = bench()
  const token = await signed(rsa, rightClaims(clock.nowMs()))
  assert.ok(tokens.whoIs(token) instanceof Promise)
  await tokens.whoIs(token)
  assert.equal(verified(), 1, 'two at once are verified once')
  await clock.advance(59_999)
  assert.deepEqual(tokens.whoIs(token), ANN, 'at once, without a promise')
  await clock.advance(1)
  assert.ok(tokens.whoIs(token) instanceof Promise)
  assert.equal(verified(), 2)
})

test('a remembered token ends when it expires, whatever is remembered', async () => {
  const { clock, tokens } = bench()
  const nowS = clock.nowMs() / 1000
  const token = await signed(rsa, { ...rightClaims(clock.nowMs()), exp: nowS + 10 })
  await tokens.whoIs(token)
  await clock.advance(39_999)
  assert.deepEqual(tokens.whoIs(token), ANN)
  await clock.advance(1)
  assert.match(said(await tokens.whoIs(token)), /^expired-token/)
})

test('a wrong token is not remembered as anybody, and verified each time', async () => {
  const { clock, tokens, verified } = bench()
  const token = await signed(rsa, { ...rightClaims(clock.nowMs()), azp: 'nobody' })
  for (let i = 1; i <= 3; i++) {
    assert.match(said(await tokens.whoIs(token)), /^unknown-key/)
    assert.equal(verified(), i)
  }
})

test('while the provider is away tokens that are remembered go on, others are told when to come back', async () => {
  const away: { is: boolean } = { is: false }
  const { clock, tokens } = bench(
    {},
    {
      keyFor: header => (away.is ? Promise.reject(new KeysAway(7_000)) : keys.keyFor(header)),
    },
  )
  const token = await signed(rsa, rightClaims(clock.nowMs()))
  await tokens.whoIs(token)
  away.is = true
  assert.deepEqual(tokens.whoIs(token), ANN)
  const other = await tokens.whoIs(await signed(rsa, { ...rightClaims(clock.nowMs()), sub: 'bob' }))
  assert.ok(other.kind === 'denied')
  assert.deepEqual([other.refusal.code, other.refusal.retryAfterMs], ['identity-unavailable', 7_000])
})

test('who brings a key that may just have been published is told so, not that the provider is away', async () => {
  const { clock, tokens } = bench({}, { keyFor: () => Promise.reject(new KeysAway(7_000, true)) })
  const who = await tokens.whoIs(await signed(rsa, rightClaims(clock.nowMs())))
  assert.equal(said(who), 'unconfirmed-key: The key of this token is not known yet, please wait before trying again.')
})

test('only so many requests wait, however many tokens they bring; what was refused is let in once there is room', async () => {
  const held: (() => void)[] = []
  const { clock, tokens } = bench(
    {},
    {
      keyFor: async header => {
        await new Promise<void>(resolve => held.push(resolve))
        return keys.keyFor(header)
      },
    },
  )
  const claims = rightClaims(clock.nowMs())
  const some = await Promise.all(Array.from({ length: 24 }, (_, i) => signed(ed, { ...claims, sub: `u${i}` })))
  const all = [...Array(MOST_WAITING).keys()].map(i => some[i % 23]!).concat(some[23]!)
  const found = all.map(token => tokens.whoIs(token))
  const last = await found.at(-1)!
  assert.ok(last.kind === 'denied' && last.refusal.code === 'identity-unavailable' && last.refusal.retryAfterMs! > 0)
  assert.equal(tokens.waiting, MOST_WAITING)
  for (const letGo of held) letGo()
  await Promise.all(found)
  assert.equal(tokens.waiting, 0)
  const again = tokens.whoIs(all.at(-1)!)
  for (const letGo of held) letGo()
  assert.equal(said(await again), 'known')
})

test('a token that is too long is not even looked at', async () => {
  const { clock, tokens, verified } = bench()
  const token = await signed(rsa, { ...rightClaims(clock.nowMs()), groups: 'x'.repeat(17_000) })
  assert.equal(said(await tokens.whoIs(token)), `${INVALID}.`)
  assert.equal(verified(), 0)
})

test('remembered tokens are bounded: the oldest is forgotten first', { timeout: 60_000 }, async () => {
  const { clock, tokens, verified } = bench()
  const claims = rightClaims(clock.nowMs())
  const first = await signed(ed, claims)
  await tokens.whoIs(first)
  for (let i = 0; i < 10_000; i++) {
    if (i === 9_999) assert.deepEqual(tokens.whoIs(first), ANN, 'still among the last ten thousand')
    await tokens.whoIs(await signed(ed, { ...claims, sub: `u${i}` }))
  }
  const before = verified()
  await tokens.whoIs(first)
  assert.equal(verified(), before + 1)
})

test('a bearer of a token’s shape is a token, any other a key', async () => {
  const { clock, tokens } = bench()
  const ring = new KeyRing([])
  const identities = credentialedIdentities({ keys: ring, signingKeys: new Map(), tokens, clock })
  const present = (headers: Record<string, string>) => identities.whoIs(presentedWith(headers))
  const token = await signed(rsa, rightClaims(clock.nowMs()))
  assert.deepEqual(await present({ authorization: `Bearer ${token}` }), ANN)
  assert.deepEqual(present({ 'x-api-key': token }), ANN)
  assert.equal(said(present({ 'x-api-key': 'sluice_x' }) as Who), `${INVALID}.`)
})
