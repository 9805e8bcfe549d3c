// The key that signs: derived from a secret for one day, Region and service. Derived keys are remembered with the client's
// own key, so that they are gone when a configuration no longer holds it, and a changed secret never meets an old one.
import { createHmac, createSecretKey, hash, type KeyObject, timingSafeEqual } from 'node:crypto'
import { ALGORITHM, type Authorization } from './sigv4Authorization.ts'

/** Never changed: a changed secret is another object. The same object again for the same key spares deriving anew. */
export interface SigningKey {
  readonly client: string
  readonly secret: string
}

/** Two days around midnight, and the Regions one client signs for; beyond that they are derived again. */
const MOST_SCOPES = 16

const derived = new WeakMap<SigningKey, Map<string, KeyObject>>()

/** Whether this key signed a request that hashes so. How long it takes says nothing of how nearly right the signature was. */
export function isSignatureOf(
  key: SigningKey,
  { scope, signature }: Authorization,
  timestamp: string,
  canonicalRequest: string,
): boolean {
  const scopes = derived.get(key)
  const known = scopes?.get(scope)
  const signingKey = known ?? derive(key.secret, scope)
  const toSign = `${ALGORITHM}\n${timestamp}\n${scope}\n${hash('sha256', Buffer.from(canonicalRequest, 'latin1'), 'hex')}`
  const expected = Buffer.from(createHmac('sha256', signingKey).update(toSign).digest('hex'))
  const found = Buffer.from(signature)
  const isRight = found.length === expected.length && timingSafeEqual(found, expected)
  // Only what a client really signed with: a stranger's Regions do not push out its own.
  if (isRight && !known) remember(key, scopes, scope, signingKey)
  return isRight
}

function remember(
  key: SigningKey,
  scopes: Map<string, KeyObject> | undefined,
  scope: string,
  signingKey: KeyObject,
): void {
  if (!scopes) derived.set(key, new Map([[scope, signingKey]]))
  else {
    if (scopes.size >= MOST_SCOPES) scopes.clear()
    scopes.set(scope, signingKey)
  }
}

function derive(secret: string, scope: string): KeyObject {
  let key = Buffer.from(`AWS4${secret}`)
  for (const part of scope.split('/')) key = createHmac('sha256', key).update(part).digest()
  return createSecretKey(key)
}
