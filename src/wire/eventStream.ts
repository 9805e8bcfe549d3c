// AWS's event stream, cut into frames while its chunks pass. A frame that lies inside one chunk is read in place; of one
// that spans chunks only what is still needed is copied; a frame nobody wants is skipped by its length.
//
//   total u32be | headers u32be | crc32 of these 8 | headers | payload | crc32 of all before
//
// Checksums are not verified: the client that gets the same bytes does that, and a wrong guess here costs one count.

const PRELUDE_BYTES = 12
const CHECKSUM_BYTES = 4
/** AWS's bounds on one message. A frame that claims more is no frame: reading stops. */
const MAX_HEADERS_BYTES = 128 * 1024
const MAX_PAYLOAD_BYTES = 16 * 1024 * 1024

export interface FrameVisitor {
  /** Judged from the headers, before the payload is there. May be asked again about the same frame. */
  wants(bytes: Buffer, headersStart: number, headersEnd: number): boolean
  /** A wanted frame, whole. Its payload starts at `headersEnd`. `bytes` is only lent for the call. */
  frame(bytes: Buffer, headersStart: number, headersEnd: number, payloadEnd: number): void
}

export interface FrameSplitter {
  push(chunk: Buffer): void
}

/** Keeps at most one wanted frame (16 MB and its headers), and nothing after bytes that cannot be a frame. */
export function createFrameSplitter(visitor: FrameVisitor): FrameSplitter {
  let held: Buffer | undefined
  let heldBytes = 0
  let skipBytes = 0
  let broken = false

  /** Moves bytes from the chunk to what is held until `held` is full; gives how many. */
  function fill(chunk: Buffer, at: number): number {
    const copied = chunk.copy(held!, heldBytes, at)
    heldBytes += copied
    return copied
  }

  /** Keeps `bytes` until there are `needed` of them. */
  function hold(bytes: Buffer, needed: number): void {
    const larger = Buffer.allocUnsafe(needed)
    heldBytes = bytes.copy(larger)
    held = larger
  }

  /** One step from `at`; gives where to go on. */
  function step(chunk: Buffer, at: number): number {
    if (held === undefined) {
      const size = visit(visitor, chunk, at, chunk.length)
      if (size > 0) return skip(chunk, at + size)
      if (size < 0) hold(chunk.subarray(at), -size)
      else broken = true
      return chunk.length
    }
    const next = at + fill(chunk, at)
    if (heldBytes < held.length) return next
    const size = visit(visitor, held, 0, heldBytes)
    if (size < 0) {
      hold(held, -size)
      return next
    }
    held = undefined
    if (size === 0) broken = true
    return skip(chunk, next + size - heldBytes)
  }

  function skip(chunk: Buffer, to: number): number {
    skipBytes = Math.max(0, to - chunk.length)
    return Math.min(to, chunk.length)
  }

  return {
    push(chunk) {
      let at = skip(chunk, skipBytes)
      while (at < chunk.length && !broken) at = step(chunk, at)
      if (broken) held = undefined
    },
  }
}

/**
 * Looks at the frame that starts at `start`. Positive: its size; it was shown or is not wanted, and may reach past `end`.
 * Negative: how many bytes of it are needed to decide. 0: no frame of the format starts like this.
 */
function visit(visitor: FrameVisitor, bytes: Buffer, start: number, end: number): number {
  const available = end - start
  if (available < PRELUDE_BYTES) return -PRELUDE_BYTES
  const size = bytes.readUInt32BE(start)
  const headersBytes = bytes.readUInt32BE(start + 4)
  const payloadBytes = size - headersBytes - PRELUDE_BYTES - CHECKSUM_BYTES
  if (headersBytes > MAX_HEADERS_BYTES || payloadBytes < 0 || payloadBytes > MAX_PAYLOAD_BYTES) return 0
  const headersStart = start + PRELUDE_BYTES
  const headersEnd = headersStart + headersBytes
  if (headersEnd > end) return -(PRELUDE_BYTES + headersBytes)
  if (!visitor.wants(bytes, headersStart, headersEnd)) return size
  if (available < size) return -size
  visitor.frame(bytes, headersStart, headersEnd, headersEnd + payloadBytes)
  return size
}
