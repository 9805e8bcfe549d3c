// npm run bench:door: microseconds that a request spends at the door, by what it shows: its address, the guard, who it is, and of a
// signature its body too. All kinds in one process, rounds interleaved, medians.
import { hash } from 'node:crypto'
import { BlockList } from 'node:net'
import { clientFinder } from '../src/domain/model.ts'
import { ClientAddress } from '../src/http/clientAddress.ts'
import { Doorkeeper } from '../src/http/doorkeeper.ts'
import { IngressGuard } from '../src/http/ingressGuard.ts'
import { credentialedIdentities } from '../src/identity/credentialed.ts'
import { Tokens } from '../src/identity/jwt.ts'
import { fixedKeySet } from '../src/identity/keySet.ts'
import { KeyRing, keySha256, newKey } from '../src/identity/keys.ts'
import { openIdentities } from '../src/identity/open.ts'
import { secretBytes, systemClock } from '../src/system.ts'
import type { Request } from '../src/transport/onePort.ts'
import { AUDIENCE, ISSUER, rightClaims, signed, signingPair } from '../test/support/identityProvider.ts'
import { CLIENT_KEY, SCOPE, signed as signedRequest, VIRTUAL_KEY } from '../test/support/signed.ts'

const ROUNDS = 9
const REQUESTS = 20_000
/** A Converse call of the size that `npm run bench` sends. */
const BODY = Buffer.from(JSON.stringify({ messages: [{ role: 'user', content: [{ text: 'x'.repeat(1_000) }] }] }))
const TARGET = '/model/anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse'
/** A date that signatures of this run bear. */
const TIMESTAMP = new Date(systemClock.nowMs()).toISOString().replace(/[-:]|\.\d{3}/g, '')

const pair = await signingPair('RS256', 'bench')
const token = await signed(pair, rightClaims(systemClock.nowMs()))
const key = newKey(secretBytes)
const open = doorkeeper('open')
const keyed = doorkeeper('keys')

function doorkeeper(mode: 'open' | 'keys'): Doorkeeper {
  const tokens = new Tokens({
    settings: {
      issuer: ISSUER,
      audience: [AUDIENCE],
      audienceClaim: 'aud',
      algorithms: ['RS256'],
      clockSkewS: 30,
      clientClaim: ['azp'],
      userClaim: 'sub',
    },
    keys: fixedKeySet({ keys: [pair.jwk] }),
    clientOf: claim => claim,
    clock: systemClock,
  })
  const credentialed = credentialedIdentities({
    keys: new KeyRing([{ client: 'web', sha256: keySha256(key) }]),
    signingKeys: new Map([[VIRTUAL_KEY.accessKeyId, CLIENT_KEY]]),
    tokens,
    clock: systemClock,
  })
  const guard = new IngressGuard({
    failedIdentitiesPerMinute: 30,
    asks: () => mode === 'keys',
    clock: systemClock,
  })
  return new Doorkeeper({
    address: new ClientAddress(new BlockList()),
    guard,
    identities: mode === 'open' ? openIdentities : credentialed,
    clientOf: clientFinder([]),
  })
}

/** As much of a request as the door reads. */
function request(headers: [string, string][]): Request {
  return {
    method: 'POST',
    url: TARGET,
    headers: Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value])),
    rawHeaders: headers.flat(),
    socket: { remoteAddress: '127.0.0.1' },
  } as unknown as Request
}

const PLAIN: [string, string][] = [
  ['host', 'bench'],
  ['content-type', 'application/json'],
  ['content-length', String(BODY.length)],
]

function sdkRequest(sendsHash: boolean): Request {
  const headers: [string, string][] = [
    ...PLAIN,
    ['amz-sdk-invocation-id', '49b665e1-acba-4310-88e0-1a0086bd1507'],
    ['amz-sdk-request', 'attempt=1; max=3'],
    ['x-amz-date', TIMESTAMP],
    ['x-amz-user-agent', 'aws-sdk-js/3.1163.0'],
    ...(sendsHash ? [['x-amz-content-sha256', hash('sha256', BODY, 'hex')] as [string, string]] : []),
  ]
  const signedHeaders = headers.map(([name]) => name).sort()
  const scope = { ...SCOPE, timestamp: TIMESTAMP }
  const whole = signedRequest({ method: 'POST', target: TARGET, headers, body: BODY }, { scope, signedHeaders })
  return request(whole.headers)
}

const KINDS: Record<string, { door: Doorkeeper; request: Request }> = {
  'auth.mode open': { door: open, request: request(PLAIN) },
  'a key, as bearer': { door: keyed, request: request([...PLAIN, ['authorization', `Bearer ${key}`]]) },
  'a signature, with the hash of its body (AWS SDK for JavaScript)': { door: keyed, request: sdkRequest(true) },
  'a signature, without (boto3)': { door: keyed, request: sdkRequest(false) },
  'a token (RS256) seen in the last minute': {
    door: keyed,
    request: request([...PLAIN, ['authorization', `Bearer ${token}`]]),
  },
}

/** Of one request, in microseconds. Throws when it is not let in: nothing else is worth a measurement. */
async function round({ door, request }: { door: Doorkeeper; request: Request }): Promise<number> {
  await door.letIn(request)
  const startMs = performance.now()
  for (let i = 0; i < REQUESTS; i++) {
    const admission = door.letIn(request)
    if (admission instanceof Promise || admission.kind === 'refused') throw new Error('not let in at once')
    // Its own bytes each time: the hash of a body is remembered with it.
    if (admission.checkBody?.(Buffer.from(BODY.buffer, BODY.byteOffset, BODY.length)))
      throw new Error('its body is not')
  }
  return ((performance.now() - startMs) / REQUESTS) * 1000
}

const times = new Map(Object.keys(KINDS).map(kind => [kind, [] as number[]]))
for (let i = 0; i < ROUNDS; i++)
  for (const [kind, one] of Object.entries(KINDS)) times.get(kind)!.push(await round(one))

console.log('| what a request shows | µs |\n|---|---|')
for (const [kind, all] of times) console.log(`| ${kind} | ${all.toSorted((a, b) => a - b)[ROUNDS >> 1]!.toFixed(1)} |`)
