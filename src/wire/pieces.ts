// Bytes that come in pieces, put together as they come: a sender of single bytes costs the bytes, not an object for each.

export interface Pieces {
  /** Copied: the piece may be part of something larger that need not be kept. */
  add(piece: Buffer): void
  /** Of all that was added, be it kept or not. */
  readonly bytes: number
  /** All of it, and nothing is kept any more; undefined: it was too much. */
  take(): Buffer | undefined
}

const NOTHING = Buffer.alloc(0)

/** Keeps `maxBytes` at most: of more nothing is kept. */
export function createPieces(maxBytes: number): Pieces {
  let held: Buffer = NOTHING
  let bytes = 0
  return {
    add(piece) {
      const from = bytes
      bytes += piece.length
      if (bytes > maxBytes) {
        held = NOTHING
        return
      }
      if (bytes > held.length) {
        const larger = Buffer.allocUnsafe(Math.min(Math.max(bytes, 2 * held.length), maxBytes))
        held.copy(larger, 0, 0, from)
        held = larger
      }
      piece.copy(held, from)
    },
    get bytes() {
      return bytes
    },
    take() {
      const whole = bytes > maxBytes ? undefined : held.subarray(0, bytes)
      held = NOTHING
      bytes = 0
      return whole
    },
  }
}
