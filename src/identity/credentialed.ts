// Who is asking while `auth.mode` is `keys`: whoever shows a credential that is known, as a signature, a token or a key.
import type { Clock } from '../domain/clock.ts'
import { looksLikeToken, type Tokens } from './jwt.ts'
import { credentialOf, type KeyRing } from './keys.ts'
import { isSigned, type SigningKey, whoSigned } from './sigv4.ts'
import { namedKeyId } from './sigv4Authorization.ts'
import { denied, type Identities, type Presented, type Shown, UNKNOWN_KEY } from './who.ts'

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
      const { shown } = presented
      if (shown === undefined) return NO_CREDENTIALS
      if (shown.kind === 'signature') return whoSigned(presented, keyOf, clock.nowMs())
      if (tokens && looksLikeToken(shown.text)) return tokens.whoIs(shown.text)
      const holder = keys.holderOf(shown.text)
      return holder ? { kind: 'known', client: holder.client, user: holder.user } : UNKNOWN_KEY
    },
  }
}

/** A signature, be it of a kind that is refused; else a key or token. Undefined: it shows none. */
export function shownBy(request: Pick<Presented, 'headers' | 'rawUrl'>): Shown | undefined {
  const { headers } = request
  if (isSigned(request)) return { kind: 'signature', accessKeyId: namedKeyId(headers.authorization ?? '') }
  const text = credentialOf(headers)
  return text === undefined ? undefined : { kind: 'secret', text }
}
