// Credentials of a client of the fuzzed Sluice, right ones and such as are nearly right. All but a signature's date is the same
// each time.
import { createPrivateKey, createPublicKey, hash, sign } from 'node:crypto'
import type { Dice } from '../../src/domain/clock.ts'
import { keySha256 } from '../../src/identity/keys.ts'
import { authorization, canonicalRequest, type SecretKey, stringToSign } from '../support/sigv4.ts'
import { type Change, type Draft, pick } from './malformedParts.ts'

export const KEY = `sluice_${'k'.repeat(43)}`
const SIGNING: SecretKey = { accessKeyId: 'SLUICEFUZZFUZZFUZZ00', secretAccessKey: 'a-secret-that-nobody-guesses' }
/** An Ed25519 key from a seed of 32 zeros (RFC 8410). */
const ISSUING = createPrivateKey({
  key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.alloc(32)]),
  format: 'der',
  type: 'pkcs8',
})
const CLAIMS = { iss: 'https://fuzz', aud: 'sluice', azp: 'web', sub: 'ann', exp: 4_000_000_000 }
const TOKEN = tokenOf({ alg: 'EdDSA', kid: 'fuzz' }, CLAIMS)

export const JWKS = JSON.stringify({
  keys: [{ ...createPublicKey(ISSUING).export({ format: 'jwk' }), kid: 'fuzz', alg: 'EdDSA' }],
})
export const VARIABLES = { FUZZ_SECRET: SIGNING.secretAccessKey }

/** All wrong ones come from one address here, which must not be shut for it. */
export function keysConfig(jwksFile: string): string {
  return `
auth: { mode: keys, jwt: { issuer: "https://fuzz", audience: sluice, jwksFile: "${jwksFile}" } }
ingress: { failedIdentitiesPerMinute: 1000000 }
clients:
  - { name: web, keySha256: ${keySha256(KEY)}, sigv4: { accessKeyId: ${SIGNING.accessKeyId}, secretEnv: FUZZ_SECRET } }`
}

/** Whoever sends none of these cannot have been right. */
export function holdsRightCredential(bytes: Buffer): boolean {
  return [KEY, SIGNING.accessKeyId, TOKEN].some(text => bytes.includes(text))
}

function tokenOf(header: object, claims: unknown, signature?: string): string {
  const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${base64(header)}.${base64(claims)}`
  return `${text}.${signature ?? sign(null, Buffer.from(text), ISSUING).toString('base64url')}`
}

type Headers = Draft['headers']
interface Signing {
  key?: SecretKey
  service?: string
  sendsHash?: boolean
  ageMs?: number
}

/** For the request as it is now: what is changed of it later may be covered or not. */
function signedBy({ method, path, body }: Draft, over: Signing = {}): Headers {
  const { key = SIGNING, service = 'bedrock', sendsHash = true, ageMs = 0 } = over
  const timestamp = new Date(Date.now() - ageMs).toISOString().replace(/[-:]|\.\d{3}/g, '')
  const scope = { timestamp, region: 'us-east-1', service }
  const own: Headers = [['x-amz-date', timestamp]]
  if (sendsHash) own.push(['x-amz-content-sha256', hash('sha256', body, 'hex')])
  const names = ['host', ...own.map(([name]) => name)].sort()
  // A query that has become one that nobody can read is left out, and the signature is wrong.
  const target = /%(?![0-9a-f]{2})|%[89a-f]/i.test(path) ? path.split('?', 1)[0]! : path
  const request = { method, target, headers: [['host', 'h'] as [string, string], ...own], body }
  return [
    ...own,
    ['Authorization', authorization(stringToSign(canonicalRequest(request, names), scope), names, scope, key)],
  ]
}

/** Right for the request as it is now. */
export function rightCredential(draft: Draft, dice: Dice): Headers {
  return pick<() => Headers>(dice, [
    () => [['Authorization', `Bearer ${KEY}`]],
    () => [['x-api-key', KEY]],
    () => [['Authorization', `Bearer ${TOKEN}`]],
    () => signedBy(draft),
    () => signedBy(draft, { sendsHash: false }),
  ])()
}

const WRONG_KEYS = [
  `sluice_${'x'.repeat(43)}`,
  `${KEY}k`,
  KEY.slice(0, -1),
  KEY.toUpperCase(),
  `${KEY.slice(0, -1)}\xff`,
  `${KEY.slice(0, -1)}K`,
  'sluice_',
  'k'.repeat(513),
  keySha256(KEY),
]
const DEEP = `eyJ${Buffer.from(`"a":${'['.repeat(5_000)}`).toString('base64url')}`
const WRONG_TOKENS = [
  tokenOf({ alg: 'none' }, CLAIMS, ''),
  tokenOf({ alg: 'HS256', kid: 'fuzz' }, CLAIMS),
  tokenOf({ alg: 'EdDSA', kid: 'other' }, CLAIMS),
  tokenOf({ alg: 'EdDSA', kid: { toString: 1 } }, CLAIMS),
  tokenOf({ alg: 'EdDSA', kid: ['fuzz'] }, CLAIMS),
  tokenOf({ alg: 7 }, CLAIMS),
  tokenOf({ alg: 'EdDSA', kid: 'fuzz', crit: ['x'], x: 1 }, CLAIMS),
  tokenOf({ alg: 'EdDSA', kid: 'fuzz', b64: false, crit: ['b64'] }, CLAIMS),
  tokenOf({ alg: 'EdDSA', kid: 'fuzz' }, { ...CLAIMS, sub: 'bob' }, TOKEN.split('.')[2]),
  ...[{ exp: 1 }, { exp: 'x' }, { exp: undefined }, { nbf: 4e9 }, { aud: [[]] }, { azp: '__proto__' }, { azp: {} }].map(
    claims => tokenOf({ alg: 'EdDSA', kid: 'fuzz' }, { ...CLAIMS, ...claims }),
  ),
  ...[null, 'ann', [CLAIMS], 7].map(claims => tokenOf({ alg: 'EdDSA', kid: 'fuzz' }, claims)),
  TOKEN.slice(0, -1),
  `${TOKEN}=`,
  `${TOKEN}.x`,
  'eyJ..',
  'eyJ.eyJ.eyJ',
  'eyJhbGciOiJFZERTQSJ9.\xff.x',
  `${DEEP}.${DEEP}.x`,
  `eyJ${'A'.repeat(7_000)}.e30.x`,
]

/** Of a header that was right, some that are not; and some in another spelling that may be. */
const SPOILT: readonly ((authorization: string) => string)[] = [
  one => one.replace(', ', ','),
  one => one.replaceAll(', ', ' \t,\t '),
  one => one.replace(', ', ' '),
  one => one.replaceAll(',', ',,'),
  one => `${one}, Signature=${'0'.repeat(64)}`,
  one => one.replace('Credential=', 'Credential=Credential='),
  one => one.replace('Credential=', 'credential='),
  one => one.replace(/Credential=[^,]*, /, ''),
  one => one.replace(/SignedHeaders=[^,]*/, 'SignedHeaders='),
  one => one.replace('SignedHeaders=host;', 'SignedHeaders='),
  one => one.replace('SignedHeaders=host', 'SignedHeaders=host;host'),
  one => one.replace('SignedHeaders=host', 'SignedHeaders=__proto__;host'),
  one => one.replace('SignedHeaders=host', `SignedHeaders=${'a;'.repeat(200)}host`),
  one => one.replace(/Signature=.*/, ''),
  one => one.replace(/Signature=.*/, `Signature=${'0'.repeat(64)}`),
  one => one.replace(/Signature=.*/, 'Signature=\xff'),
  one => one.replace(/[0-9a-f]{64}$/, digits => digits.toUpperCase()),
  one => one.replace('AWS4-HMAC-SHA256', 'aws4-hmac-sha256'),
  one => one.replace('AWS4-HMAC-SHA256', 'AWS4-ECDSA-P256-SHA256'),
  one => one.replace('AWS4-HMAC-SHA256 ', 'AWS4-HMAC-SHA256\t'),
  one => one.replace('/bedrock/', '/s3/'),
  one => one.replace('/aws4_request', ''),
  one => one.replace('/us-east-1/', '/us-east-1/us-east-1/'),
  one => one.replace(SIGNING.accessKeyId, 'AKIDNOBODYNOBODY0000'),
  one => one.replace(SIGNING.accessKeyId, 'constructor'),
  one => one + ' '.repeat(9_000),
]

const isCredential = (name: string) => /^(authorization|x-api-key|x-amz-date|x-amz-content-sha256)$/i.test(name)

function replace(draft: Draft, headers: Headers): void {
  draft.headers = draft.headers.filter(([name]) => !isCredential(name)).concat(headers)
}

export const CREDENTIAL_CHANGES: readonly Change[] = [
  ['no credential', draft => replace(draft, [])],
  ['wrong key', (draft, dice) => replace(draft, [['Authorization', `Bearer ${pick(dice, WRONG_KEYS)}`]])],
  ['wrong x-api-key', (draft, dice) => replace(draft, [['x-api-key', pick(dice, WRONG_KEYS)]])],
  ['wrong token', (draft, dice) => replace(draft, [['Authorization', `Bearer ${pick(dice, WRONG_TOKENS)}`]])],
  ['wrong token as key', (draft, dice) => replace(draft, [['x-api-key', pick(dice, WRONG_TOKENS)]])],
  [
    'both headers',
    (draft, dice) =>
      replace(draft, [
        ['Authorization', `Bearer ${pick(dice, [KEY, TOKEN, ...WRONG_KEYS])}`],
        ['x-api-key', pick(dice, [KEY, TOKEN, ...WRONG_KEYS])],
      ]),
  ],
  [
    'a signature and a key',
    (draft, dice) =>
      replace(draft, [
        ...signedBy(draft, pick(dice, [{}, { sendsHash: false }])),
        ['x-api-key', pick(dice, [KEY, ''])],
      ]),
  ],
  [
    'wrong signature',
    (draft, dice) =>
      replace(
        draft,
        signedBy(
          draft,
          pick<Signing>(dice, [
            { key: { ...SIGNING, secretAccessKey: 'another' } },
            { key: { ...SIGNING, secretAccessKey: 'another' }, sendsHash: false },
            { key: { accessKeyId: 'AKIDNOBODYNOBODY0000', secretAccessKey: 'x' } },
            { service: 's3' },
            { ageMs: 600_000 },
            { ageMs: -600_000 },
          ]),
        ),
      ),
  ],
  [
    'authorization',
    (draft, dice) => {
      const headers = signedBy(draft, { sendsHash: pick(dice, [true, false]) })
      headers.push(['Authorization', pick(dice, SPOILT)(headers.pop()![1])])
      replace(draft, headers)
    },
  ],
  [
    'payload hash',
    (draft, dice) =>
      draft.headers.push([
        'x-amz-content-sha256',
        pick(dice, ['UNSIGNED-PAYLOAD', 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD', '', 'f'.repeat(64), 'F'.repeat(64)]),
      ]),
  ],
  [
    'date',
    (draft, dice) =>
      draft.headers.push([
        pick(dice, ['x-amz-date', 'date']),
        pick(dice, ['', '20261122T000000Z', '99999999T999999Z', 'Thu, 01 Jan 1970 00:00:00 GMT', '-1', '\xff']),
      ]),
  ],
  ['credential twice', (draft, dice) => draft.headers.push(...rightCredential(draft, dice))],
  ['scheme', (draft, dice) => replace(draft, [['Authorization', pick(dice, [KEY, `Basic ${KEY}`, `Bearer\t${KEY}`])]])],
]
