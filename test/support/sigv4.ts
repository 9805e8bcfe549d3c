// Signature Version 4 read from AWS's documentation and written on node:crypto alone: what checks src/bedrock/signer.ts
// without sharing a line with it. It is itself held to AWS's own vectors in test/bedrock/signer.test.ts.
import { createHmac, hash } from 'node:crypto'

export interface WireRequest {
  method: string
  /** The request target as it travels: path and query. */
  target: string
  /** Name and value pairs as they travel. */
  headers: [string, string][]
  body: Buffer
}

export interface SecretKey {
  accessKeyId: string
  secretAccessKey: string
}

const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()

/** RFC 3986 unreserved characters stay, every other byte becomes %XX. */
function escapeBytes(bytes: Buffer): string {
  return [...bytes]
    .map(byte => {
      const character = String.fromCharCode(byte)
      return /[A-Za-z0-9\-._~]/.test(character) ? character : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
    })
    .join('')
}

/** Of every service but S3: dot segments resolved, slashes collapsed, and each wire segment escaped once more. */
export function canonicalPath(wirePath: string): string {
  const kept: string[] = []
  for (const segment of wirePath.split('/')) {
    if (segment === '..') kept.pop()
    else if (segment !== '' && segment !== '.') kept.push(escapeBytes(Buffer.from(segment)))
  }
  const path = `/${kept.join('/')}`
  return kept.length > 0 && wirePath.endsWith('/') ? `${path}/` : path
}

/** Names and values decoded and escaped anew; sorted by name, then value, by code point. */
export function canonicalQuery(wireQuery: string): string {
  const pairs = wireQuery
    .split('&')
    .filter(pair => pair !== '')
    .map(pair => {
      const at = pair.indexOf('=')
      const parts = at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)]
      return parts.map(part => escapeBytes(Buffer.from(decodeURIComponent(part))))
    })
  const compare = (a = '', b = '') => (a < b ? -1 : Number(a > b))
  return pairs
    .sort((a, b) => compare(a[0], b[0]) || compare(a[1], b[1]))
    .map(pair => pair.join('='))
    .join('&')
}

export function canonicalRequest(request: WireRequest, signedHeaders: string[]): string {
  const at = request.target.indexOf('?')
  const path = at < 0 ? request.target : request.target.slice(0, at)
  const query = at < 0 ? '' : request.target.slice(at + 1)
  const lines = signedHeaders.map(name => {
    const values = request.headers.filter(header => header[0].toLowerCase() === name).map(header => header[1])
    return `${name}:${values.map(value => value.trim().replace(/\s+/g, ' ')).join(',')}\n`
  })
  return [
    request.method,
    canonicalPath(path),
    canonicalQuery(query),
    lines.join(''),
    signedHeaders.join(';'),
    hash('sha256', request.body, 'hex'),
  ].join('\n')
}

export interface Scope {
  /** 20150830T123600Z */
  timestamp: string
  region: string
  service: string
}

export function stringToSign(canonical: string, { timestamp, region, service }: Scope): string {
  const scope = `${timestamp.slice(0, 8)}/${region}/${service}/aws4_request`
  return ['AWS4-HMAC-SHA256', timestamp, scope, hash('sha256', canonical, 'hex')].join('\n')
}

export function authorization(toSign: string, signedHeaders: string[], scope: Scope, key: SecretKey): string {
  const date = scope.timestamp.slice(0, 8)
  const signing = [scope.region, scope.service, 'aws4_request'].reduce(
    hmac as (key: Buffer, text: string) => Buffer,
    hmac(`AWS4${key.secretAccessKey}`, date),
  )
  const signature = hmac(signing, toSign).toString('hex')
  const credential = `${key.accessKeyId}/${date}/${scope.region}/${scope.service}/aws4_request`
  return `AWS4-HMAC-SHA256 Credential=${credential}, SignedHeaders=${signedHeaders.join(';')}, Signature=${signature}`
}

/** What AWS would check of a request it received: undefined when it is right, else what is wrong with it. */
export function verify(request: WireRequest, key: SecretKey): string | undefined {
  const value = (name: string) => request.headers.find(header => header[0].toLowerCase() === name)?.[1]
  const found = value('authorization') ?? ''
  const parts = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), /
  const match = parts.exec(found)
  if (!match) return `not a SigV4 authorization: ${found}`
  const signedHeaders = match[5]!.split(';')
  const timestamp = value('x-amz-date') ?? ''
  if (timestamp.slice(0, 8) !== match[2]) return `the date ${timestamp} is not that of the scope`
  for (const must of ['host', 'x-amz-date']) if (!signedHeaders.includes(must)) return `${must} is not signed`
  for (const [name] of request.headers) {
    const isAmazon = /^x-amz-(?!sdk)(date|content-sha256|security-token)/i.test(name)
    if (isAmazon && !signedHeaders.includes(name.toLowerCase())) return `${name} is sent but not signed`
  }
  if (value('x-amz-content-sha256') !== hash('sha256', request.body, 'hex'))
    return 'x-amz-content-sha256 is not the body'
  const scope = { timestamp, region: match[3]!, service: match[4]! }
  const canonical = canonicalRequest(request, signedHeaders)
  const expected = authorization(stringToSign(canonical, scope), signedHeaders, scope, key)
  return expected === found ? undefined : `expected ${expected}\nfound ${found}\ncanonical request:\n${canonical}`
}
