// A body's SHA-256, which Signature Version 4 wants of every request: 24 MB take 20 ms, so a large body's is reckoned where the
// body is read, off the event loop, and remembered for as long as those very bytes are.
import { hash } from 'node:crypto'

const known = new WeakMap<Buffer, string>()

/** In hexadecimal. */
export function payloadHash(body: Buffer): string {
  return known.get(body) ?? hash('sha256', body, 'hex')
}

/** The body must never be written to again. */
export function rememberPayloadHash(body: Buffer, hexadecimal: string): void {
  known.set(body, hexadecimal)
}
