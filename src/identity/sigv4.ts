// Stand-in: knows a signed request when it sees one, and believes none.
import type { Presented, Who } from './who.ts'

export interface SigningKey {
  client: string
  secret: string
}

export function isSigned({ headers }: Presented): boolean {
  return headers.authorization?.startsWith('AWS4-HMAC-SHA256') ?? false
}

export function whoSigned(
  _presented: Presented,
  _keyOf: (accessKeyId: string) => SigningKey | undefined,
  _nowMs: number,
): Who {
  return { kind: 'denied', refusal: { code: 'bad-signature', message: 'Signatures are not verified yet.' } }
}
