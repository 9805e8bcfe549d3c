// Who is asking while `auth.mode` is `open`: one client, and as user the best name the request offers, so that shares are
// fair before anyone has configured a key. Nothing secret is kept: a bearer becomes a short hash.
import type { IncomingHttpHeaders } from 'node:http'
import { keySha256, keyUser } from './keys.ts'
import type { Identities } from './who.ts'

export const OPEN_CLIENT = 'open'
const CREDENTIAL = /Credential=([^/,\s]{1,128})\//

export const openIdentities: Identities = {
  whoIs: ({ headers, address }) => ({
    kind: 'known',
    client: OPEN_CLIENT,
    user: credentialId(headers) || address || 'unknown',
  }),
}

/** A SigV4 access key id is public; any other credential is shown only as a hash. */
function credentialId({ authorization, 'x-api-key': apiKey }: IncomingHttpHeaders): string | undefined {
  const accessKeyId = authorization && CREDENTIAL.exec(authorization)?.[1]
  if (accessKeyId) return accessKeyId
  const secret = authorization?.replace(/^Bearer\s+/i, '') ?? (Array.isArray(apiKey) ? apiKey[0] : apiKey)
  return secret ? keyUser(keySha256(secret)) : undefined
}
