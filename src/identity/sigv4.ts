// Who signed a request, by Signature Version 4 with a virtual access key: clients sign as they always did for Bedrock. The
// signature covers method, path, query, the headers it names, the date and the body's hash. A client that sends that hash is
// verified before a byte of its body is read, and the body against the hash afterwards; of one that doesn't (boto3) nothing
// can be verified before its body is there. What a signature does not cover is not trusted more for it being there.
import type { Refusal } from '../domain/refusal.ts'
import { payloadHash, rememberPayloadHash } from '../wire/payloadHash.ts'
import { badSignature, incomplete, parseAuthorization, quoted } from './sigv4Authorization.ts'
import { canonicalOpening, type HeaderValues } from './sigv4Canonical.ts'
import { isSignatureOf, type SigningKey } from './sigv4Keys.ts'
import { faultOfTime, timeOf } from './sigv4Time.ts'
import { denied, type Presented, UNKNOWN_KEY, type Who } from './who.ts'

export type { SigningKey } from './sigv4Keys.ts'

/** What clients of Bedrock sign for: its own endpoints, and the one beside it that speaks the dialects of others. */
const BEDROCK_SERVICES = ['bedrock', 'bedrock-mantle']
/** What must stand once, for two readers to read the same. */
const ONCE = ['authorization', 'x-amz-date', 'date', 'x-amz-content-sha256']
const HEXADECIMAL_SHA256 = /^[0-9a-f]{64}$/
const PRESIGNED = /[?&]X-Amz-(Algorithm|Signature)=/i

const MISMATCH = badSignature(
  'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and ' +
    'signing method. Consult the service documentation for details.',
)
const OTHER_BODY = badSignature("The provided 'x-amz-content-sha256' header does not match what was computed.")

/** Whether it claims to be signed, be it in a way that is refused: presigned in its query, or by an algorithm not taken. */
export function isSigned({ headers, rawUrl }: Pick<Presented, 'headers' | 'rawUrl'>): boolean {
  return /^AWS4-/i.test(headers.authorization ?? '') || PRESIGNED.test(rawUrl)
}

/**
 * Its user is the access key id. Known on condition of `checkBody`, always: nothing of the body may be used, nor anything
 * be done or told, before that has been asked. Any session token is left unread: virtual keys have none.
 */
export function whoSigned(
  presented: Presented,
  keyOf: (accessKeyId: string) => SigningKey | undefined,
  nowMs: number,
  services: readonly string[] = BEDROCK_SERVICES,
): Who {
  const headers = valuesByName(presented.rawHeaders)
  const refusal = faultOfHeaders(presented, headers)
  if (refusal) return denied(refusal)
  const authorization = parseAuthorization(headers.get('authorization')![0]!, services)
  if ('code' in authorization) return denied(authorization)
  const { accessKeyId, signedHeaders } = authorization
  const missing = signedHeaders.find(name => !headers.has(name))
  if (missing !== undefined)
    return denied(incomplete(`SignedHeaders names ${quoted(missing)}, which is not among the request's headers.`))
  const time = timeOf(headers, signedHeaders)
  if ('code' in time) return denied(time)
  const outOfTime = faultOfTime(time, authorization.date, nowMs)
  if (outOfTime) return denied(outOfTime)
  const key = keyOf(accessKeyId)
  if (!key) return UNKNOWN_KEY
  const opening = canonicalOpening(presented, headers, signedHeaders)
  if (opening === undefined) return denied(MISMATCH)
  const faultOf = (hash: string) =>
    isSignatureOf(key, authorization, time.timestamp, opening + hash) ? undefined : MISMATCH
  const declared = headers.get('x-amz-content-sha256')?.[0]
  const forged = declared === undefined ? undefined : faultOf(declared)
  if (forged) return denied(forged)
  const checkBody =
    declared === undefined
      ? (body: Buffer) => faultOf(hashOf(body))
      : (body: Buffer) => (hashOf(body) === declared ? undefined : OTHER_BODY)
  return { kind: 'known', client: key.client, user: accessKeyId, checkBody }
}

/** Reckoned once: the signature that Sluice makes covers the same body. */
function hashOf(body: Buffer): string {
  const hash = payloadHash(body)
  rememberPayloadHash(body, hash)
  return hash
}

/** `host` is HTTP/1.1's name and `:authority` HTTP/2's for one thing; a proxy between turns one into the other. */
function valuesByName(rawHeaders: string[]): HeaderValues {
  const values: HeaderValues = new Map()
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase()
    const earlier = values.get(name)
    if (earlier) earlier.push(rawHeaders[i + 1]!)
    else values.set(name, [rawHeaders[i + 1]!])
  }
  const hosts = [...(values.get(':authority') ?? []), ...(values.get('host') ?? [])]
  if (hosts.length > 0) {
    const same = hosts.every(host => host === hosts[0]) ? hosts.slice(0, 1) : hosts
    values.set('host', same).set(':authority', same)
  }
  return values
}

/** What would make a signature say one thing here and another to somebody else. */
function faultOfHeaders({ rawUrl }: Presented, headers: HeaderValues): Refusal | undefined {
  if (PRESIGNED.test(rawUrl))
    return incomplete('Presigned requests are not supported: expected the signature in the authorization header.')
  if (!headers.has('authorization')) return incomplete('The request has no authorization header.')
  const repeated = [...ONCE, 'host'].find(name => (headers.get(name)?.length ?? 0) > 1)
  if (repeated !== undefined) return incomplete(`${repeated}: expected one value, found several.`)
  const declared = headers.get('x-amz-content-sha256')?.[0]
  // UNSIGNED-PAYLOAD and STREAMING-… are S3's: they would leave the body to whoever can change it on the way.
  if (declared !== undefined && !HEXADECIMAL_SHA256.test(declared))
    return incomplete(
      `x-amz-content-sha256: expected the SHA-256 of the whole body in lower-case hexadecimal, found ${quoted(declared)}.`,
    )
  return undefined
}
