// HTTP/2 as bytes: frames and header blocks that no client library would send, and the frames that came back.
// RFC 9113 has the frames, RFC 7541 the header blocks.

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export const FRAME = {
  data: 0,
  headers: 1,
  priority: 2,
  resetStream: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

export const FLAG = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 0x20 } as const

/** `length` in place of the payload's own: a frame that lies. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
  length: number = payload.length,
): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(length & 0xffffff, 0, 3)
  head.writeUInt8(type & 0xff, 3)
  head.writeUInt8(flags & 0xff, 4)
  head.writeUInt32BE(stream >>> 0, 5)
  return Buffer.concat([head, payload])
}

export function settings(...pairs: [id: number, value: number][]): Buffer {
  return frame(FRAME.settings, 0, 0, Buffer.concat(pairs.map(([id, value]) => uint(id, 2, value))))
}

function uint(id: number, idBytes: number, value: number): Buffer {
  const bytes = Buffer.alloc(idBytes + 4)
  bytes.writeUIntBE(id, 0, idBytes)
  bytes.writeUInt32BE(value >>> 0, idBytes)
  return bytes
}

export function windowUpdate(stream: number, increment: number): Buffer {
  return frame(FRAME.windowUpdate, 0, stream, word(increment))
}

export function resetStream(stream: number, code = 8): Buffer {
  return frame(FRAME.resetStream, 0, stream, word(code))
}

export function word(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value >>> 0)
  return bytes
}

/** What a client says first. The far end may keep no table of headers, so that a status can be read without one. */
export const OPENING = Buffer.concat([PREFACE, settings([1, 0])])
export const SETTINGS_ACK = frame(FRAME.settings, FLAG.ack, 0)

/** Names and values as they are, any bytes (Latin-1): not indexed, no Huffman code. */
export function headerBlock(list: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(list.flatMap(([name, value]) => [Buffer.of(0), text(name), text(value)]))
}

/** A header that goes into the table of the far end: one byte names it from then on. */
export function indexedLater(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.of(0x40), text(name), text(value)])
}

function text(value: string): Buffer {
  return Buffer.concat([hpackInteger(Buffer.byteLength(value, 'latin1'), 7), Buffer.from(value, 'latin1')])
}

function hpackInteger(value: number, prefixBits: number): Buffer {
  const most = 2 ** prefixBits - 1
  if (value < most) return Buffer.of(value)
  const bytes = [most]
  let rest = value - most
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return Buffer.from([...bytes, rest])
}

export interface Frame {
  type: number
  flags: number
  stream: number
  payload: Buffer
}

/** Those that are whole. */
export function readFrames(bytes: Buffer): Frame[] {
  const frames: Frame[] = []
  for (let at = 0; at + 9 <= bytes.length; ) {
    const end = at + 9 + bytes.readUIntBE(at, 3)
    if (end > bytes.length) break
    frames.push({
      type: bytes.readUInt8(at + 3),
      flags: bytes.readUInt8(at + 4),
      stream: bytes.readUInt32BE(at + 5) & 0x7fffffff,
      payload: bytes.subarray(at + 9, end),
    })
    at = end
  }
  return frames
}

const STATIC_STATUSES = [200, 204, 206, 304, 400, 404, 500]

/** The `:status` that opens a header block, which the far end wrote without a table. NaN: it is no status. */
export function statusOf(block: Buffer): number {
  // Before the first of them stands what size the table may have.
  let at = 0
  while (block[at] !== undefined && (block[at]! & 0xe0) === 0x20) at += 1
  const first = block[at] ?? 0
  if (first & 0x80) return STATIC_STATUSES[(first & 0x7f) - 8] ?? Number.NaN
  const size = (block[at + 1] ?? 0) & 0x7f
  const value = block.subarray(at + 2, at + 2 + size)
  return Number((block[at + 1] ?? 0) & 0x80 ? huffmanDigits(value) : value.toString('latin1'))
}

/** 0, 1 and 2 have five bits, the other digits six (RFC 7541, appendix B). */
function huffmanDigits(bytes: Buffer): string {
  const bits = [...bytes].map(byte => byte.toString(2).padStart(8, '0')).join('')
  let out = ''
  for (let at = 0; at + 5 <= bits.length && out.length < 3; ) {
    const short = Number.parseInt(bits.slice(at, at + 5), 2)
    if (short <= 2) {
      out += short
      at += 5
    } else {
      out += Number.parseInt(bits.slice(at, at + 6), 2) - 0x19 + 3
      at += 6
    }
  }
  return out
}

/** The answers among frames: one for each stream that has a head, interim ones left out. */
export function answersOf(frames: Frame[]): { stream: number; status: number }[] {
  return frames
    .filter(one => one.type === FRAME.headers)
    .map(one => ({ stream: one.stream, status: statusOf(one.payload) }))
    .filter(one => !(one.status < 200) && !Number.isNaN(one.status))
}
