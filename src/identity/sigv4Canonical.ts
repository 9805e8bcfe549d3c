// The canonical request of Signature Version 4, spelt from what arrived: one text for all requests that mean the same, which
// the client hashed and Sluice hashes again. Strings are bytes here, one character each, as node hands over what came on the
// wire: a byte that nobody can tell from another in the text would be one that could be changed.

/** By name in lower case, each with all its values in the order they came. */
export type HeaderValues = Map<string, string[]>

const ESCAPES = Array.from({ length: 256 }, (_, byte) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)
const RESERVED = /[^A-Za-z0-9\-._~]/g
const ESCAPED_OR_RESERVED = /%[0-9A-Fa-f]{2}|[^A-Za-z0-9\-._~]/g
const UNRESERVED = /[A-Za-z0-9\-._~]/
/** A percent sign that escapes nothing. */
const BROKEN_ESCAPE = /%(?![0-9A-Fa-f]{2})/
const MORE_THAN_A_BYTE = /[^\0-\xff]/

export interface Target {
  method: string
  /** Path and query as they came. */
  rawUrl: string
}

/**
 * All of it but the last line, the payload's hash. Every name must be among the headers. undefined: there is none, for a
 * path that has no root, a percent sign in the query that escapes nothing, or a character that is not one byte.
 */
export function canonicalOpening(
  { method, rawUrl }: Target,
  headers: HeaderValues,
  names: string[],
): string | undefined {
  const at = rawUrl.indexOf('?')
  const query = canonicalQuery(at < 0 ? '' : rawUrl.slice(at + 1))
  if (query === undefined || !rawUrl.startsWith('/')) return undefined
  let opening = `${method}\n${canonicalPath(at < 0 ? rawUrl : rawUrl.slice(0, at))}\n${query}\n`
  for (const name of names) opening += `${name}:${canonicalValue(headers.get(name)!)}\n`
  opening += `\n${names.join(';')}\n`
  return MORE_THAN_A_BYTE.test(rawUrl) || MORE_THAN_A_BYTE.test(opening) ? undefined : opening
}

/** As for every service but S3: dot segments and empty ones resolved, then each segment of the wire escaped once more. */
function canonicalPath(wirePath: string): string {
  const kept: string[] = []
  for (const segment of wirePath.split('/')) {
    if (segment === '..') kept.pop()
    else if (segment !== '' && segment !== '.') kept.push(segment.replace(RESERVED, escaped))
  }
  return `/${kept.join('/')}${kept.length > 0 && wirePath.endsWith('/') ? '/' : ''}`
}

/** Escaped one way, sorted by name, then value. A plus is a plus; `a` is `a=`; between two & nothing is nothing. */
function canonicalQuery(wireQuery: string): string | undefined {
  if (wireQuery === '') return ''
  if (BROKEN_ESCAPE.test(wireQuery)) return undefined
  const pairs: [name: string, value: string][] = []
  for (const pair of wireQuery.split('&')) {
    if (pair === '') continue
    const at = pair.indexOf('=')
    pairs.push(at < 0 ? [respell(pair), ''] : [respell(pair.slice(0, at)), respell(pair.slice(at + 1))])
  }
  pairs.sort((a, b) => order(a[0], b[0]) || order(a[1], b[1]))
  return pairs.map(pair => pair.join('=')).join('&')
}

function respell(text: string): string {
  return text.replace(ESCAPED_OR_RESERVED, found => {
    const byte = found.length === 3 ? String.fromCharCode(Number.parseInt(found.slice(1), 16)) : found
    return UNRESERVED.test(byte) ? byte : escaped(byte)
  })
}

function escaped(byte: string): string {
  return ESCAPES[byte.charCodeAt(0)] ?? ''
}

function order(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

/** A run of blanks is one space, and none at either end; what came in several headers is joined by commas. */
function canonicalValue(values: string[]): string {
  return values.map(value => value.replace(/[ \t\r\n]+/g, ' ').replace(/^ | $/g, '')).join(',')
}
