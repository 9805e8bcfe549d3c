// AWS's Signature Version 4 test suite, read from ../shared.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Scope, WireRequest } from './sigv4.ts'

const SUITE = fileURLToPath(new URL('../../../shared/data/sigv4-test-suite/', import.meta.url))

export const VECTORS_MISSING = existsSync(SUITE) ? false : `AWS's SigV4 test suite is not at ${SUITE}`

/** Fixed by the suite for all of its vectors. */
export const VECTOR_KEY = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY' }
export const VECTOR_SCOPE: Scope = { timestamp: '20150830T123600Z', region: 'us-east-1', service: 'service' }
export const VECTOR_DATE_MS = Date.UTC(2015, 7, 30, 12, 36)

export interface Vector {
  name: string
  request: WireRequest
  canonical: string
  toSign: string
  authorization: string
  signedHeaders: string[]
}

export function loadVectors(): Vector[] {
  if (VECTORS_MISSING) return []
  return readdirSync(SUITE, { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.req'))
    .sort()
    .map(file => {
      const read = (ending: string) => readFileSync(SUITE + file.replace(/req$/, ending), 'utf8').replaceAll('\r', '')
      const authorization = read('authz').trim()
      return {
        name: dirname(file),
        request: parse(read('req')),
        canonical: read('creq'),
        toSign: read('sts'),
        authorization,
        signedHeaders: /SignedHeaders=([^,]+)/.exec(authorization)![1]!.split(';'),
      }
    })
}

/** Method and target are cut at the first and the last space of the line: one vector has a space in its path. */
function parse(text: string): WireRequest {
  const [head = '', ...body] = text.split('\n\n')
  const [line = '', ...rest] = head.split('\n').filter(one => one !== '')
  const headers: [string, string][] = []
  for (const one of rest) {
    const at = one.indexOf(':')
    if (/^\s/.test(one)) headers.at(-1)![1] += one
    else headers.push([one.slice(0, at), one.slice(at + 1)])
  }
  return {
    method: line.slice(0, line.indexOf(' ')),
    target: line.slice(line.indexOf(' ') + 1, line.lastIndexOf(' ')),
    headers,
    body: Buffer.from(body.join('\n\n')),
  }
}
