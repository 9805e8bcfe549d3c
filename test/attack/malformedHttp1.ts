// HTTP/1.1 requests with something wrong in them, drawn from a seed: a good one, changed in one to four places, then perhaps
// in single bytes. The same seed and index are the same bytes.
import type { Dice } from '../../src/domain/clock.ts'
import { seededDice, wholeBetween } from '../../src/simulator/dice.ts'
import { CREDENTIAL_CHANGES, rightCredential } from './credentials.ts'
import { BODIES, type Change, type Draft, draftOf, HEADER_CHANGES, PATH_CHANGES, pick } from './malformedParts.ts'

export interface Malformed {
  /** What was changed, to be read beside a failure. */
  what: string
  /** Written one after the other. */
  pieces: Buffer[]
}

const oddLine = (draft: Draft, line: string) => {
  draft.line = line
}
const LENGTHS = [
  '-1',
  '+5',
  '0x10',
  '1e2',
  '5,5',
  '5, 6',
  ' 5',
  '5 ',
  '99999999999999999999',
  '',
  'NaN',
  '18446744073709551616',
]
const CODINGS = [
  'chunked',
  'xchunked',
  'Chunked',
  'chunked, identity',
  'identity',
  'gzip, chunked',
  '\tchunked',
  'chunked ',
  '\x0bchunked',
  'chunked\x0b',
  '"chunked"',
  'chunked;q=1',
  'chunked,',
  ', chunked',
  'chu\0nked',
  'identity, chunked, identity',
]
const METHODS = [
  'get',
  'PATCH',
  'PUT',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'CONNECT',
  'PRI',
  'HEAD',
  'P\0ST',
  '',
  'POST POST',
  'PROPFIND',
  'M-SEARCH',
  'POST\t',
  'Ä',
  'X'.repeat(5_000),
]
const CHUNKS = [
  'ZZ\r\n{}\r\n0\r\n\r\n',
  '-2\r\n{}\r\n0\r\n\r\n',
  '2 \r\n{}\r\n0\r\n\r\n',
  '2\n{}\n0\n\n',
  '2;x=y\r\n{}\r\n0\r\n\r\n',
  `2;${'x'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n`,
  '2;\n{}\r\n0\r\n\r\n',
  'ffffffffffffffff\r\n{}',
  '2\r\n{}0\r\n\r\n',
  '2\r\n{}xx\r\n0\r\n\r\n',
  '2\r\n{}\r\n0\r\nx: y\r\n\r\n',
  '2\r\n{}\r\n',
  '1\r\n{}\r\n0\r\n\r\n',
  '2\r\n{}\r\n0\r\nContent-Length: 9\r\n\r\n',
  '0x2\r\n{}\r\n0\r\n\r\n',
  '2\r\r\n{}\r\n0\r\n\r\n',
]

const CHANGES: readonly Change[] = [
  ['method', (draft, dice) => Object.assign(draft, { method: pick(dice, METHODS) })],
  [
    'version',
    (d, dice) =>
      oddLine(
        d,
        `${d.method} ${d.path} ${pick(dice, ['HTTP/1.0', 'HTTP/0.9', 'HTTP/2.0', 'HTTP/1.2', 'http/1.1', 'HTTP/1.1.1', '', 'ICE/1.0'])}`,
      ),
  ],
  ['spaces', (d, dice) => oddLine(d, `${d.method}${pick(dice, ['  ', '\t', '\x0b', ''])}${d.path} HTTP/1.1`)],
  [
    'absolute',
    (draft, dice) =>
      Object.assign(draft, {
        path: pick(dice, ['http://h', 'https://h:1', '//h', 'ftp://h', '*', 'h:443']) + draft.path,
      }),
  ],
  ['length', (draft, dice) => draft.headers.push(['Content-Length', pick(dice, LENGTHS)])],
  [
    'lying length',
    (draft, dice) => Object.assign(draft, { length: String(wholeBetween(dice, 0, 2 * draft.body.length + 10)) }),
  ],
  ['second length', (draft, dice) => draft.headers.push(['content-length', String(wholeBetween(dice, 0, 99))])],
  ['no length', draft => Object.assign(draft, { length: undefined })],
  [
    'coding',
    (draft, dice) =>
      draft.headers.push([
        pick(dice, ['Transfer-Encoding', 'Transfer-Encoding ', ' Transfer-Encoding', 'transfer_encoding']),
        pick(dice, CODINGS),
      ]),
  ],
  [
    'chunks',
    (draft, dice) => {
      draft.length = undefined
      draft.headers.push(['Transfer-Encoding', 'chunked'])
      draft.body = Buffer.from(pick(dice, CHUNKS), 'latin1')
    },
  ],
  [
    'line ends',
    (draft, dice) => Object.assign(draft, { lineEnd: pick(dice, ['\n', '\r', '\r\r\n', '\n\r', '\r\n ', '\0\r\n']) }),
  ],
  [
    'no host',
    draft => {
      draft.headers = draft.headers.filter(([name]) => name !== 'Host')
    },
  ],
  [
    'hosts',
    (draft, dice) => draft.headers.push(['Host', pick(dice, ['other', '', 'a b', 'h:99999999', '[::1', '\xff'])]),
  ],
  ['cut off', (draft, dice) => Object.assign(draft, { keepBytes: wholeBetween(dice, 1, 400) })],
  [
    'followed',
    (draft, dice) =>
      Object.assign(draft, {
        followed: pick(dice, [
          'GET / HTTP/1.1\r\nHost: h\r\n\r\n',
          '\r\n\r\n',
          '\0',
          'garbage',
          'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
        ]),
      }),
  ],
  [
    'preceded',
    (draft, dice) => Object.assign(draft, { preceded: pick(dice, ['\r\n', '\n\n', ' ', '\0', 'PRI', '\x16\x03\x01']) }),
  ],
  ...HEADER_CHANGES,
  ...PATH_CHANGES,
  ...BODIES,
]

/** `asksForKeys`: the request has a credential, which is right at first. */
export function malformedHttp1(seed: number, index: number, asksForKeys: boolean): Malformed {
  const dice = seededDice(seed, index, 1)
  const draft = draftOf(index, dice)
  if (asksForKeys) draft.headers.push(...rightCredential(draft, dice))
  const done: string[] = []
  for (let left = wholeBetween(dice, 1, 4); left > 0; left--) {
    const [what, change] = pick(dice, asksForKeys && dice() < 0.4 ? CREDENTIAL_CHANGES : CHANGES)
    change(draft, dice)
    done.push(what)
  }
  let bytes = bytesOf(draft)
  if (dice() < 0.3) {
    bytes = flipped(bytes, dice)
    done.push('bytes')
  }
  const at = wholeBetween(dice, 0, bytes.length)
  const pieces = dice() < 0.3 ? [bytes.subarray(0, at), bytes.subarray(at)] : [bytes]
  return { what: done.join(', '), pieces }
}

function bytesOf(draft: Draft): Buffer {
  const { method, path, headers, length, lineEnd } = draft
  const lines = [draft.line ?? `${method} ${path} HTTP/1.1`, ...headers.map(([name, value]) => `${name}: ${value}`)]
  if (length !== undefined) lines.push(`Content-Length: ${length === 'right' ? draft.body.length : length}`)
  const head = `${draft.preceded}${lines.join(lineEnd)}${lineEnd}${lineEnd}`
  const whole = Buffer.concat([Buffer.from(head, 'latin1'), draft.body, Buffer.from(draft.followed, 'latin1')])
  return draft.keepBytes === undefined ? whole : whole.subarray(0, draft.keepBytes)
}

/** One to five bytes become others, come in, or go. */
export function flipped(bytes: Buffer, dice: Dice): Buffer {
  let out = Buffer.from(bytes)
  for (let left = wholeBetween(dice, 1, 5); left > 0; left--) {
    const at = wholeBetween(dice, 0, Math.max(0, out.length - 1))
    const byte = Buffer.of(
      pick(dice, [0, 9, 10, 11, 13, 32, 37, 44, 47, 58, 127, 128, 255, wholeBetween(dice, 0, 255)]),
    )
    const kind = dice()
    if (kind < 0.5) out = Buffer.concat([out.subarray(0, at), byte, out.subarray(at + 1)])
    else if (kind < 0.8) out = Buffer.concat([out.subarray(0, at), byte, out.subarray(at)])
    else out = Buffer.concat([out.subarray(0, at), out.subarray(at + 1)])
  }
  return out
}
