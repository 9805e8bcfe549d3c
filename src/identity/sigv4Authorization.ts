// An authorization header of Signature Version 4, taken apart: whose key it names, the day, Region and service that it was
// derived for, which headers the signature covers. What is no such header is refused in AWS's own words where they are known.
import type { Refusal } from '../domain/refusal.ts'

export interface Authorization {
  accessKeyId: string
  /** 20150830 */
  date: string
  /** date/region/service/aws4_request: what the key that signs was derived for. */
  scope: string
  /** In lower case, sorted, each once; `host` or `:authority` among them. */
  signedHeaders: string[]
  /** As it came. */
  signature: string
}

export const ALGORITHM = 'AWS4-HMAC-SHA256'
const TERMINATOR = 'aws4_request'
const PARAMETERS = ['Credential', 'SignedHeaders', 'Signature']
const CREDENTIAL = 'Credential='
/** Several times what any SDK sends. */
const MAX_CHARS = 8_192
const MAX_SIGNED_HEADERS = 100

export function parseAuthorization(header: string, services: readonly string[]): Authorization | Refusal {
  if (header.length > MAX_CHARS) return incomplete(`Authorization header is longer than ${MAX_CHARS} characters.`)
  if (!header.startsWith(`${ALGORITHM} `))
    return incomplete(`Unsupported AWS 'algorithm': ${quoted(header.split(' ', 1)[0]!)}, expected ${ALGORITHM}.`)
  const given = new Map<string, string>()
  for (const text of parametersIn(header)) {
    const at = text.indexOf('=')
    const name = text.slice(0, Math.max(at, 0))
    if (!PARAMETERS.includes(name) || given.has(name))
      return incomplete(`Authorization header has a part that is none of ${PARAMETERS.join(', ')}, or one twice.`)
    given.set(name, text.slice(at + 1))
  }
  const [credential, signedHeaders, signature] = PARAMETERS.map(name => given.get(name))
  if (!credential || !signedHeaders || !signature)
    return incomplete(`Authorization header requires ${PARAMETERS.map(name => `'${name}'`).join(', ')} parameters.`)
  const names = signedHeaders.split(';')
  const fault = faultOfNames(names)
  if (fault) return incomplete(fault)
  const whose = parseCredential(credential, services)
  return 'code' in whose ? whose : { ...whose, signedHeaders: names, signature }
}

/** Whose signature it says it is, be the rest of it right or not; undefined: nobody's. */
export function namedKeyId(header: string): string | undefined {
  if (header.length > MAX_CHARS || !header.startsWith(`${ALGORITHM} `)) return undefined
  const credential = parametersIn(header).find(text => text.startsWith(CREDENTIAL))
  return credential?.slice(CREDENTIAL.length).split('/', 1)[0] || undefined
}

function parametersIn(header: string): string[] {
  return header.slice(ALGORITHM.length).split(',').map(withoutBlanks)
}

/**
 * `trim` takes more for blanks than HTTP does: a byte that nobody signed. Step by step, since a pattern would look at a long
 * run of them once for each.
 */
function withoutBlanks(text: string): string {
  let [start, end] = [0, text.length]
  while (start < end && isBlank(text[start])) start += 1
  while (end > start && isBlank(text[end - 1])) end -= 1
  return text.slice(start, end)
}

function isBlank(character: string | undefined): boolean {
  return character === ' ' || character === '\t'
}

type Credential = Omit<Authorization, 'signedHeaders' | 'signature'>

function parseCredential(credential: string, services: readonly string[]): Credential | Refusal {
  const elements = credential.split('/')
  const [accessKeyId = '', date = '', , service = '', terminator = ''] = elements
  if (elements.length !== 5 || elements.includes(''))
    return incomplete(
      `Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got ${quoted(credential)}.`,
    )
  if (terminator !== TERMINATOR)
    return badSignature(
      `Credential should be scoped with a valid terminator: '${TERMINATOR}', not ${quoted(terminator)}.`,
    )
  if (!services.includes(service))
    return badSignature(
      `Credential should be scoped to correct service: '${services.join("' or '")}', not ${quoted(service)}.`,
    )
  return { accessKeyId, date, scope: elements.slice(1).join('/') }
}

/** A list in another order, or with a name twice, would say one thing to one reader and another to the next. */
function faultOfNames(names: string[]): string | undefined {
  if (names.length > MAX_SIGNED_HEADERS) return `SignedHeaders names more than ${MAX_SIGNED_HEADERS} headers.`
  const isCanonical = names.every(
    (name, i) => name !== '' && name === name.toLowerCase() && (i === 0 || names[i - 1]! < name),
  )
  if (!isCanonical) return 'SignedHeaders must be names in lower case, sorted, each once.'
  if (!names.includes('host') && !names.includes(':authority'))
    return "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
  return undefined
}

export function incomplete(message: string): Refusal {
  return { code: 'incomplete-signature', message }
}

export function badSignature(message: string): Refusal {
  return { code: 'bad-signature', message }
}

/** As much of what was sent as a message may carry. */
export function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 60))
}
