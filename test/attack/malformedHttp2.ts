// HTTP/2 connections with something wrong in them, drawn from a seed: a good request's frames, changed in its headers, in the
// order and shape of its frames, or in single bytes. The same seed and index are the same bytes.
import type { Dice } from '../../src/domain/clock.ts'
import { seededDice, wholeBetween } from '../../src/simulator/dice.ts'
import {
  FLAG,
  FRAME,
  frame,
  headerBlock,
  OPENING,
  resetStream,
  settings,
  windowUpdate,
  word,
} from '../support/http2Frames.ts'
import { CREDENTIAL_CHANGES, rightCredential } from './credentials.ts'
import { flipped, type Malformed } from './malformedHttp1.ts'
import { BODIES, type Draft, draftOf, HEADER_CHANGES, PATH_CHANGES, pick } from './malformedParts.ts'

/** A connection on its way to become bytes: the request, and what its frames shall be. */
interface Talk extends Draft {
  pseudo: [name: string, value: string][]
  stream: number
  /** Between the head and the body. */
  between: Buffer[]
  before: Buffer[]
  after: Buffer[]
  /** In place of the head's block. */
  block?: Buffer
  headFlags: number
  dataFlags: number
}

type Change = readonly [what: string, change: (talk: Talk, dice: Dice) => void]

const NAMES = [':method', ':path', ':scheme', ':authority', ':status', ':protocol', ':', ':x']
const CONNECTION_HEADERS: [string, string][] = [
  ['connection', 'close'],
  ['transfer-encoding', 'chunked'],
  ['keep-alive', '1'],
  ['upgrade', 'h2c'],
  ['proxy-connection', 'x'],
  ['te', 'gzip'],
  ['te', 'trailers'],
  ['Content-Type', 'x'],
  ['host', 'other'],
  ['content-length', '0'],
  ['content-length', '-1'],
  ['content-length', '7, 8'],
  ['content-length', '99999999999999999999'],
  ['cookie', ''],
]
const FRAMES: ((dice: Dice) => Buffer)[] = [
  dice =>
    frame(wholeBetween(dice, 10, 255), wholeBetween(dice, 0, 255), pick(dice, [0, 1, 3, 0x7fffffff]), Buffer.alloc(9)),
  dice => frame(FRAME.data, 0, pick(dice, [0, 2, 3, 99]), Buffer.from('x')),
  dice => frame(FRAME.data, FLAG.padded, 1, Buffer.of(pick(dice, [0, 200, 255]))),
  dice => frame(FRAME.data, 0, 1, Buffer.alloc(pick(dice, [0, 16_385, 60_000]))),
  dice => frame(FRAME.priority, 0, pick(dice, [0, 1, 3]), Buffer.concat([word(pick(dice, [0, 1, 3])), Buffer.of(7)])),
  dice => frame(FRAME.priority, 0, 1, Buffer.alloc(pick(dice, [0, 4, 6]))),
  dice => resetStream(pick(dice, [0, 1, 2, 3, 99])),
  () => frame(FRAME.resetStream, 0, 1, Buffer.alloc(3)),
  dice => settings([pick(dice, [0, 2, 3, 4, 5, 6, 99]), pick(dice, [0, 1, 2, 0x7fffffff, 0x80000000, 0xffffffff])]),
  dice => frame(FRAME.settings, pick(dice, [0, 1]), pick(dice, [0, 1]), Buffer.alloc(pick(dice, [0, 5, 6]))),
  () => frame(FRAME.pushPromise, 4, 1, Buffer.concat([word(2), headerBlock([[':method', 'GET']])])),
  dice => frame(FRAME.ping, 0, pick(dice, [0, 1]), Buffer.alloc(pick(dice, [8, 7]))),
  dice => frame(FRAME.goAway, 0, pick(dice, [0, 1]), Buffer.alloc(pick(dice, [8, 3, 100]))),
  dice => windowUpdate(pick(dice, [0, 1, 5]), pick(dice, [0, 1, 0x7fffffff, 0x80000000])),
  dice => frame(FRAME.windowUpdate, 0, 0, Buffer.alloc(pick(dice, [0, 3, 5]))),
  () => frame(FRAME.continuation, 4, 1, headerBlock([['x', 'y']])),
  dice => frame(FRAME.data, 0, 1, Buffer.alloc(10), pick(dice, [5, 11, 20_000, 0xffffff])),
  dice => frame(FRAME.headers, pick(dice, [0, 1, 4, 5, 0xff]), pick(dice, [0, 1, 2, 3]), Buffer.from('junk')),
]
const BLOCKS = [
  Buffer.alloc(0),
  Buffer.alloc(32, 0xff),
  Buffer.of(0x80),
  Buffer.of(0xbf, 0xbe),
  Buffer.of(0x82, 0x84, 0x86),
  Buffer.of(0x3f, 0xff, 0xff, 0xff, 0xff, 0x7f),
  Buffer.of(0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0x0f),
  Buffer.of(0x40, 0x85, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x41),
  Buffer.concat(Array.from({ length: 3_000 }, () => Buffer.of(0x82))),
]

const CHANGES: readonly Change[] = [
  ['no pseudo-header', (talk, dice) => talk.pseudo.splice(wholeBetween(dice, 0, 3), 1)],
  [
    'pseudo-header',
    (talk, dice) => talk.pseudo.push([pick(dice, NAMES), pick(dice, ['', 'x', '/', '200', 'CONNECT'])]),
  ],
  ['pseudo-header last', talk => talk.headers.push(talk.pseudo.pop() ?? [':x', ''])],
  [
    'method',
    (talk, dice) =>
      Object.assign(talk, {
        method: pick(dice, ['get', '', 'CONNECT', 'P\0', 'PRI', 'HEAD', 'ü', 'TRACE', 'X'.repeat(5_000)]),
      }),
  ],
  ['scheme', (talk, dice) => setPseudo(talk, ':scheme', pick(dice, ['', 'ftp', 'HTTP', 'http ', 'x:y', '\xff']))],
  [
    'authority',
    (talk, dice) =>
      setPseudo(talk, ':authority', pick(dice, ['', 'a b', 'u:p@h', 'h/', '\xff', 'h:-1', 'x'.repeat(9_000)])),
  ],
  ['connection header', (talk, dice) => talk.headers.push(pick(dice, CONNECTION_HEADERS))],
  ['length', (talk, dice) => Object.assign(talk, { length: String(wholeBetween(dice, 0, 2 * talk.body.length + 5)) })],
  ['stream', (talk, dice) => Object.assign(talk, { stream: pick(dice, [0, 2, 3, 0x7fffffff, 0x80000001]) })],
  ['head flags', (talk, dice) => Object.assign(talk, { headFlags: pick(dice, [0, 1, 5, 0x0c, 0x24, 0x2d, 0xff]) })],
  ['data flags', (talk, dice) => Object.assign(talk, { dataFlags: pick(dice, [0, 8, 9, 0xff]) })],
  ['block', (talk, dice) => Object.assign(talk, { block: pick(dice, BLOCKS) })],
  ['frame before', (talk, dice) => talk.before.push(pick(dice, FRAMES)(dice))],
  ['frame between', (talk, dice) => talk.between.push(pick(dice, FRAMES)(dice))],
  ['frame after', (talk, dice) => talk.after.push(pick(dice, FRAMES)(dice))],
  [
    'trailers',
    (talk, dice) => {
      talk.dataFlags = 0
      const names = pick(dice, [[['x', 'y']], [[':path', '/']], [['content-length', '3']], [['X', '']]]) as [
        string,
        string,
      ][]
      talk.after.push(frame(FRAME.headers, pick(dice, [4, 5]), talk.stream, headerBlock(names)))
    },
  ],
  ['cut off', (talk, dice) => Object.assign(talk, { keepBytes: wholeBetween(dice, 1, 500) })],
  ['preceded', (talk, dice) => Object.assign(talk, { preceded: pick(dice, ['\r\n', 'GET / HTTP/1.1\r\n\r\n', '\0']) })],
  ['again', talk => talk.after.push(frame(FRAME.headers, 5, talk.stream, headerBlock(talk.pseudo)))],
]
/** Past the frames: what Sluice itself must judge. */
const WITHIN: readonly Change[] = [...HEADER_CHANGES, ...PATH_CHANGES, ...BODIES]

function setPseudo(talk: Talk, name: string, value: string): void {
  talk.pseudo = talk.pseudo.map(one => (one[0] === name ? [name, value] : one))
}

export function malformedHttp2(seed: number, index: number, asksForKeys: boolean): Malformed {
  const dice = seededDice(seed, index, 2)
  const draft = draftOf(index, dice)
  const talk: Talk = {
    ...draft,
    headers: [['content-type', 'application/json']],
    pseudo: [
      [':method', ''],
      [':scheme', 'http'],
      [':authority', 'h'],
      [':path', ''],
    ],
    ...{ stream: 1, before: [], between: [], after: [], headFlags: FLAG.endHeaders, dataFlags: FLAG.endStream },
  }
  // Those of the parts that mean HTTP/1.1's list of headers find the same two at its start.
  talk.headers.unshift(['accept', '*/*'])
  if (asksForKeys) talk.headers.push(...rightCredential(draft, dice))
  const done: string[] = []
  const isWithin = dice() < 0.4
  for (let left = wholeBetween(dice, 1, 4); left > 0; left--) {
    const changes = isWithin ? WITHIN : CHANGES
    const [what, change] = pick<Change>(dice, asksForKeys && dice() < 0.4 ? CREDENTIAL_CHANGES : changes)
    change(talk, dice)
    done.push(what)
  }
  let frames = bytesOf(talk)
  if (!isWithin && dice() < 0.3) {
    frames = flipped(frames, dice)
    done.push('bytes')
  }
  const opening = Buffer.concat([OPENING.subarray(0, 24), Buffer.from(talk.preceded, 'latin1'), OPENING.subarray(24)])
  return { what: done.join(', '), pieces: [opening, frames] }
}

function bytesOf(talk: Talk): Buffer {
  setPseudo(talk, ':method', talk.method)
  setPseudo(talk, ':path', talk.path)
  const headers = talk.headers.map(([name, value]): [string, string] => [lowerCase(name), value])
  if (talk.length !== undefined) {
    headers.push(['content-length', talk.length === 'right' ? String(talk.body.length) : talk.length])
  }
  const block = talk.block ?? headerBlock([...talk.pseudo, ...headers])
  const frames = [...talk.before, ...headFrames(talk, block), ...talk.between]
  if (talk.length !== undefined || talk.body.length > 0) frames.push(...dataFrames(talk))
  const whole = Buffer.concat([...frames, ...talk.after])
  return talk.keepBytes === undefined ? whole : whole.subarray(0, talk.keepBytes)
}

/** HTTP/1.1's spelling is a fault of its own here: one in the table has it. */
function lowerCase(name: string): string {
  return name === 'Content-Type' ? name : name.toLowerCase()
}

const LARGEST = 16_384

function headFrames({ headFlags, stream }: Talk, block: Buffer): Buffer[] {
  if (block.length <= LARGEST) return [frame(FRAME.headers, headFlags, stream, block)]
  const frames = [frame(FRAME.headers, headFlags & ~FLAG.endHeaders, stream, block.subarray(0, LARGEST))]
  for (let at = LARGEST; at < block.length; at += LARGEST) {
    const flags = at + LARGEST >= block.length ? headFlags & FLAG.endHeaders : 0
    frames.push(frame(FRAME.continuation, flags, stream, block.subarray(at, at + LARGEST)))
  }
  return frames
}

function dataFrames({ body, dataFlags, stream }: Talk): Buffer[] {
  const frames: Buffer[] = []
  for (let at = 0; at + LARGEST < body.length; at += LARGEST)
    frames.push(frame(FRAME.data, 0, stream, body.subarray(at, at + LARGEST)))
  frames.push(frame(FRAME.data, dataFlags, stream, body.subarray(frames.length * LARGEST)))
  return frames
}
