// Requests signed with a virtual access key, as they would arrive, and what Sluice says of them: nothing, or its refusal.
import type { Refusal } from '../../src/domain/refusal.ts'
import { shownBy } from '../../src/identity/credentialed.ts'
import { type SigningKey, whoSigned } from '../../src/identity/sigv4.ts'
import type { Presented } from '../../src/identity/who.ts'
import { authorization, canonicalRequest, type Scope, type SecretKey, stringToSign, type WireRequest } from './sigv4.ts'

export const VIRTUAL_KEY: SecretKey = { accessKeyId: 'AKIDVIRTUAL', secretAccessKey: 'the-virtual-secret' }
export const CLIENT_KEY: SigningKey = { client: 'checkout', secret: VIRTUAL_KEY.secretAccessKey }
export const NOW_MS = Date.UTC(2026, 10, 22, 12)
export const SCOPE: Scope = { timestamp: '20261122T120000Z', region: 'eu-west-1', service: 'bedrock' }

export const keyOf = (accessKeyId: string) => (accessKeyId === VIRTUAL_KEY.accessKeyId ? CLIENT_KEY : undefined)

export interface Choices {
  scope?: Partial<Scope>
  key?: SecretKey
  /** Absent: all headers that the request has. */
  signedHeaders?: string[]
}

/** The request with an authorization header behind its own headers. Its text is UTF-8. */
export function signed(request: WireRequest, { scope, key = VIRTUAL_KEY, signedHeaders }: Choices = {}): WireRequest {
  const names = signedHeaders ?? [...new Set(request.headers.map(([name]) => name.toLowerCase()))].sort()
  const where = { ...SCOPE, ...scope }
  const toSign = stringToSign(canonicalRequest(request, names), where)
  return { ...request, headers: [...request.headers, ['authorization', authorization(toSign, names, where, key)]] }
}

/** As node hands over what comes on the wire: a character a byte. */
export function presented({ method, target, headers }: WireRequest): Presented {
  const bytes = (text: string) => Buffer.from(text).toString('latin1')
  const rawHeaders = headers.flatMap(pair => pair.map(bytes))
  const found = headers.find(([name]) => name.toLowerCase() === 'authorization')?.[1]
  const read = { headers: found === undefined ? {} : { authorization: bytes(found) }, rawUrl: bytes(target) }
  return { method, ...read, rawHeaders, address: undefined, shown: shownBy(read) }
}

/** A request with these headers, of which nothing else matters. */
export function presentedWith(headers: Record<string, string>): Presented {
  const read = { headers, rawUrl: '/' }
  return { method: 'POST', ...read, rawHeaders: [], address: '10.0.0.1', shown: shownBy(read) }
}

/** From the head alone or, where that is not enough, with the body. */
export function refusalOf(request: WireRequest, nowMs = NOW_MS, find = keyOf): Refusal | undefined {
  const who = whoSigned(presented(request), find, nowMs)
  return who.kind === 'denied' ? who.refusal : who.checkBody!(request.body)
}
