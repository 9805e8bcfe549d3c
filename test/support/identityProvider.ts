// An identity provider of a test's own: real keys, real signatures, and its JWKS on a real socket that does as it is told.
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'

export const ISSUER = 'https://login.example.com/realms/test'
export const AUDIENCE = 'sluice'

/** One that is undefined is left out. */
export type Claims = Record<string, unknown>
type Pair = Awaited<ReturnType<typeof generateKeyPair>>
type Jwk = Awaited<ReturnType<typeof exportJWK>>

export interface SigningPair {
  privateKey: Pair['privateKey']
  publicKey: Pair['publicKey']
  /** The public one, with its id. */
  jwk: Jwk
  alg: string
  kid: string
}

export async function signingPair(alg: string, kid: string): Promise<SigningPair> {
  const pair = await generateKeyPair(alg, { extractable: true })
  return { ...pair, alg, kid, jwk: { ...(await exportJWK(pair.publicKey)), kid, alg, use: 'sig' } }
}

/** Claims of a token that is right in every respect at `nowMs`, for the client `web` and the user `ann`. */
export function rightClaims(nowMs: number): Claims {
  const nowS = Math.floor(nowMs / 1000)
  return { iss: ISSUER, aud: AUDIENCE, azp: 'web', sub: 'ann', iat: nowS, exp: nowS + 600 }
}

export function signed(pair: SigningPair, claims: Claims, header: Record<string, unknown> = {}): Promise<string> {
  return new SignJWT(JSON.parse(JSON.stringify(claims)))
    .setProtectedHeader({ alg: pair.alg, kid: pair.kid, typ: 'JWT', ...header })
    .sign(pair.privateKey)
}

export interface KeyServer {
  url: string
  keys: Jwk[]
  /** How it answers; `hang` never does. */
  manner: 'well' | 'error' | 'hang' | 'html' | 'redirect' | 'endless'
  fetches: number
  close(): Promise<void>
}

export async function startKeyServer(keys: Jwk[]): Promise<KeyServer> {
  const state: Omit<KeyServer, 'url' | 'close'> = { keys, manner: 'well', fetches: 0 }
  const server = http.createServer((_request, response) => {
    state.fetches += 1
    if (state.manner === 'well') response.end(JSON.stringify({ keys: state.keys }))
    if (state.manner === 'error') response.writeHead(500).end(JSON.stringify({ keys: state.keys }))
    if (state.manner === 'html') response.end('<html>Sign in</html>')
    if (state.manner === 'redirect') response.writeHead(302, { location: '/elsewhere' }).end()
    if (state.manner === 'endless') {
      const more = () => void (response.write(' '.repeat(65_536)) ? setImmediate(more) : response.once('drain', more))
      response.on('error', () => {})
      more()
    }
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const close = () =>
    new Promise<void>(resolve => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  return Object.assign(state, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`, close })
}
