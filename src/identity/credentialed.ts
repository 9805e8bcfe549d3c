// Who is asking while `auth.mode` is `keys`: whoever shows a credential that is known, as a signature, a token or a key.
import type { Clock } from '../domain/clock.ts'
import { looksLikeToken, type Tokens } from './jwt.ts'
import { credentialOf, type KeyRing } from './keys.ts'
import { isSigned, type SigningKey, whoSigned } from './sigv4.ts'
import { namedKeyId } from './sigv4Authorization.ts'
import { denied, type Identities, type Presented, UNKNOWN_KEY } from './who.ts'

export interface CredentialedParts {
  keys: KeyRing
  /** By access key id. */
  signingKeys: ReadonlyMap<string, SigningKey>
  /** Absent: a token is looked up as keys are. */
  tokens?: Tokens | undefined
  clock: Clock
}

const NO_CREDENTIALS = denied({
  code: 'no-credentials',
  message: 'Missing Authentication Token: send a key as bearer or x-api-key, or sign the request.',
})

export function credentialedIdentities({ keys, signingKeys, tokens, clock }: CredentialedParts): Identities {
  const keyOf = (accessKeyId: string) => signingKeys.get(accessKeyId)
  return {
    whoIs(presented) {
      if (isSigned(presented)) return whoSigned(presented, keyOf, clock.nowMs())
      const credential = credentialOf(presented.headers)
      if (credential === undefined) return NO_CREDENTIALS
      if (tokens && looksLikeToken(credential)) return tokens.whoIs(credential)
      const holder = keys.holderOf(credential)
      return holder ? { kind: 'known', client: holder.client, user: holder.user } : UNKNOWN_KEY
    },
  }
}

/** The one credential by which a request is judged, whatever else it carries. */
export type Shown =
  /** Another with each request; known again by the id of its key, if it names one. */
  { kind: 'signature'; accessKeyId: string | undefined } | { kind: 'secret'; text: string }

/** As `whoIs` takes it. Undefined: it shows none. */
export function shownBy(presented: Presented): Shown | undefined {
  const { headers } = presented
  if (isSigned(presented)) return { kind: 'signature', accessKeyId: namedKeyId(headers.authorization ?? '') }
  const text = credentialOf(headers)
  return text === undefined ? undefined : { kind: 'secret', text }
}
