// What can be wrong with a request in either protocol: its path, its headers, its body.
import { hash } from 'node:crypto'
import type { Dice } from '../../src/domain/clock.ts'
import { wholeBetween } from '../../src/simulator/dice.ts'
import { HELLO } from '../support/wire.ts'

export function pick<T>(dice: Dice, choices: readonly T[]): T {
  return choices[wholeBetween(dice, 0, choices.length - 1)]!
}

/** A request on its way to become bytes. Text is Latin-1. */
export interface Draft {
  method: string
  path: string
  /** In place of method, path and version. */
  line?: string
  headers: [name: string, value: string][]
  body: Buffer
  /** 'right' becomes the body's; undefined: none is declared. */
  length: string | undefined
  lineEnd: string
  preceded: string
  followed: string
  keepBytes?: number
}

/** The id names the request: whoever is answered must find it in the answer. */
export function idOf(index: number): string {
  return `any.c${index}x${hash('md5', String(index)).slice(0, 8)}`
}

/** The indices of the requests named in a text; a name that a change has spoilt is none. */
export function indicesIn(text: string): number[] {
  const named = [...text.matchAll(/any\.c(\d+)x/g)].map(match => Number(match[1]))
  return named.filter(index => text.includes(idOf(index)))
}

/** A good request. */
export function draftOf(index: number, dice: Dice): Draft {
  const id = idOf(index)
  const inBody = (path: string): [string, string, string] => [
    'POST',
    path,
    `{"model":"${id}","max_tokens":9,"messages":[]}`,
  ]
  const [method, path, body] = pick<[string, string, string]>(dice, [
    ['POST', `/model/${id}/converse`, HELLO],
    ['POST', `/model/${id}/converse-stream`, HELLO],
    ['POST', `/model/${id}/invoke`, '{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"messages":[]}'],
    ['POST', `/model/${id}/count-tokens`, '{"input":{}}'],
    ['POST', `/guardrail/${id}/version/1/apply`, '{"source":"INPUT","content":[]}'],
    ['GET', `/inference-profiles/${id}`, ''],
    ['POST', '/async-invoke', `{"modelId":"${id}","modelInput":{}}`],
    inBody('/openai/v1/chat/completions'),
    inBody('/anthropic/v1/messages'),
  ])
  const headers: Draft['headers'] = [
    ['Host', 'h'],
    ['Content-Type', 'application/json'],
  ]
  const length = method === 'GET' ? undefined : 'right'
  return { method, path, headers, body: Buffer.from(body), length, lineEnd: '\r\n', preceded: '', followed: '' }
}

export type Change = readonly [what: string, change: (draft: Draft, dice: Dice) => void]

const JUNK_IDS = [
  '%',
  '%2',
  '%zz',
  '%ff%fe',
  '%00',
  '\0',
  '..',
  '.',
  '%2e%2e',
  '..%2f..',
  '%252e',
  'a'.repeat(3_000),
  'ü',
  '\xff\xfe',
  ' ',
  '%20',
  '#',
  '?',
  '\\',
  '/',
  '//',
  ';x=y',
  '%F0%9F%98%80',
  '%ed%a0%80',
  '*',
  '\x7f',
  '<script>',
  '__proto__',
  'constructor',
  'arn:aws:bedrock:us-east-1:1:x%2Fy',
  '%0d%0aX: y',
  'x'.repeat(40_000),
]
/** Not `__proto__`: the signing library loses that name, and AWS would refuse the signature. */
const JUNK_QUERIES = [
  '?',
  '?a=b',
  '?%',
  '?%zz=%',
  '?a[]=1',
  `?${'a&'.repeat(3_000)}`,
  '?\0',
  '?ü',
  '#x',
  '?a#b',
  '?X-Amz-Signature=0&X-Amz-Credential=x',
  '? ',
  '?\x80',
]
const JUNK_NAMES = [
  '',
  ' ',
  'a b',
  'a:b',
  '(x)',
  '\0',
  'ü',
  '\x7f',
  'x'.repeat(9_000),
  '__proto__',
  'constructor',
  ':path',
  'a\tb',
  'connection',
  'upgrade',
  'te',
  'trailer',
  'expect',
  'content-encoding',
  'keep-alive',
  'x-http-method-override',
]
const JUNK_VALUES = [
  '',
  '\0',
  '\r',
  '\n',
  'a\r\nb: c',
  'a\nb: c',
  '\x7f',
  'ü',
  '\xff\xfe',
  'x'.repeat(9_000),
  'x'.repeat(60_000),
  '100-continue',
  'h2c',
  'websocket',
  'close, x-sluice-user',
  'authorization',
  '\t\t',
  '\x01\x02',
  'null',
  '{}',
  '%00',
]
const CREDENTIALS = [
  'Bearer',
  'Bearer ',
  'Bearer \0',
  `Bearer ${'x'.repeat(20_000)}`,
  'Basic !!!',
  'AWS4-HMAC-SHA256',
  'bearer ü',
  'AWS4-HMAC-SHA256 Credential=',
  'AWS4-HMAC-SHA256 Credential=/////, SignedHeaders=;;;, Signature=zz',
  ',,,,',
  '\xff',
  'AWS4-HMAC-SHA256 Credential=A/20260101/r/bedrock/aws4_request, SignedHeaders=host, Signature=00',
  `AWS4-HMAC-SHA256 Credential=${'A'.repeat(500)}/b, SignedHeaders=${'a;'.repeat(2_000)}, Signature=${'0'.repeat(64)}`,
  'Bearer a.b.c, Bearer eyJhbGciOiJub25lIn0.e30.',
]
const OWN = ['x-sluice-priority', 'x-sluice-user', 'x-sluice-max-wait-ms', 'x-sluice-', 'x-sluice-pool']
const OWN_VALUES = [
  '',
  'urgent',
  'HIGH',
  '-1',
  '1e9',
  '99999999999',
  'NaN',
  '1.5',
  ' 7 ',
  '0x10',
  'x'.repeat(500),
  'ü',
  '__proto__',
  'a\tb',
  '\xff',
  '1,2',
  'null',
  '{{7*7}}',
  '%{jndi:ldap://x}',
]

export const PATH_CHANGES: readonly Change[] = [
  ['id', (draft, dice) => Object.assign(draft, { path: draft.path.replace(/any\.c\w+/, pick(dice, JUNK_IDS)) })],
  [
    'id and more',
    (draft, dice) => Object.assign(draft, { path: draft.path.replace(/any\.c\w+/, `$&${pick(dice, JUNK_IDS)}`) }),
  ],
  ['query', (draft, dice) => Object.assign(draft, { path: draft.path + pick(dice, JUNK_QUERIES) })],
  ['path', (draft, dice) => Object.assign(draft, { path: `/${pick(dice, JUNK_IDS)}${draft.path}` })],
  ['path end', (draft, dice) => Object.assign(draft, { path: `${draft.path}/${pick(dice, JUNK_IDS)}` })],
  ['no slash', draft => Object.assign(draft, { path: draft.path.slice(1) })],
  ['slashes', draft => Object.assign(draft, { path: draft.path.replaceAll('/', '//') })],
]

export const HEADER_CHANGES: readonly Change[] = [
  ['name', (draft, dice) => draft.headers.push([pick(dice, JUNK_NAMES), 'x'])],
  ['value', (draft, dice) => draft.headers.push(['X-Junk', pick(dice, JUNK_VALUES)])],
  ['name and value', (draft, dice) => draft.headers.push([pick(dice, JUNK_NAMES), pick(dice, JUNK_VALUES)])],
  [
    'credential',
    (draft, dice) => draft.headers.push([pick(dice, ['Authorization', 'x-api-key']), pick(dice, CREDENTIALS)]),
  ],
  ['own header', (draft, dice) => draft.headers.push([pick(dice, OWN), pick(dice, OWN_VALUES)])],
  [
    'many headers',
    (draft, dice) => {
      for (let i = pick(dice, [100, 500, 3_000]); i > 0; i--) draft.headers.push([`x-${i}`, 'y'])
    },
  ],
  [
    'content-type',
    (draft, dice) => {
      const types = ['text/plain', '', 'application/json; charset=\xff', 'multipart/form-data; boundary=x']
      draft.headers = draft.headers.filter(([name]) => name.toLowerCase() !== 'content-type')
      draft.headers.push(['Content-Type', pick(dice, types)])
    },
  ],
  [
    'encoding',
    (draft, dice) => draft.headers.push(['Content-Encoding', pick(dice, ['gzip', 'br', 'x', 'identity, gzip'])]),
  ],
  [
    'expect',
    (draft, dice) => draft.headers.push(['Expect', pick(dice, ['100-continue', '200-ok', '', '100-continue, x'])]),
  ],
]

const nested = (open: string, close: string, depth: number) => open.repeat(depth) + close.repeat(depth)
const WRONG = [
  '',
  '{',
  '}',
  '[]',
  'null',
  '0',
  '"x"',
  '{"a":',
  '{"messages":',
  '\0\0\0',
  '{}{}',
  '{} x',
  "{'a':1}",
  '{"a":NaN}',
  '{"inferenceConfig":{"maxTokens":1e400}}',
  '{"inferenceConfig":{"maxTokens":-1}}',
  '{"inferenceConfig":{"maxTokens":"9"}}',
  '{"inferenceConfig":{"maxTokens":99999999999999999999999}}',
  '{"inferenceConfig":[]}',
  '{"inferenceConfig":null}',
  '{"inferenceConfig":{"maxTokens":1.5}}',
  '{"max_tokens":{}}',
  '{"max_tokens":true,"messages":7}',
  '{"messages":{"a":1}}',
  '{"__proto__":{"messages":[]}}',
  '{"constructor":{"prototype":{}}}',
  '{"model":7}',
  '{"model":""}',
  '{"model":null}',
  '{"messages":[{"content":[{"image":{"format":7,"source":{"bytes":{}}}}]}]}',
  '{"messages":[null,[],[[]],"x"]}',
  '{"messages":[{"content":[{"image":{"format":"png","source":{"bytes":"iVBORw0KGgo="}}}]}]}',
  '{"n":1e9,"max_tokens":1}',
  '\xff\xfe{\0}\0',
  '\xef\xbb\xbf{}',
  '{"a":"\xc3\x28"}',
  '{"a":"\\ud800"}',
  '{"a":"\x01"}',
  '{"modelId":[]}',
  nested('[', ']', 20_000),
  nested('{"a":', '}', 20_000),
  `{"messages":${nested('[', ']', 5_000)}}`,
  `{"a":${'9'.repeat(30_000)}}`,
  `{"a":"${'x'.repeat(100_000)}"}`,
  `{${'"a":1,'.repeat(10_000)}"a":2}`,
]

export const BODIES: readonly Change[] = [
  ['body', (draft, dice) => Object.assign(draft, { body: Buffer.from(pick(dice, WRONG), 'latin1') })],
  [
    'body cut',
    (draft, dice) => Object.assign(draft, { body: draft.body.subarray(0, wholeBetween(dice, 0, draft.body.length)) }),
  ],
  [
    'body junk',
    (draft, dice) => {
      draft.body = Buffer.from(Array.from({ length: wholeBetween(dice, 1, 200) }, () => wholeBetween(dice, 0, 255)))
    },
  ],
]
