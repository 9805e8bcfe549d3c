// The request's body as the bytes that came, within a bound.
import type { Request } from '../transport/onePort.ts'
import type { Place } from './receiving.ts'

export type BodyResult = { kind: 'ok'; body: Buffer } | { kind: 'too-large' } | { kind: 'no-room' } | { kind: 'gone' }

const EMPTY = Buffer.alloc(0)
/** Of a refused body this much is still read, so that the client gets to see the refusal; then the connection is cut. */
const MAX_DISCARDED_BYTES = 32 * 1024 * 1024

/** 0: the request declares none. */
export function declaredBytes(request: Request): number {
  return Math.max(Number(request.headers['content-length']) || 0, 0)
}

/** Every byte that is kept is counted in `place`. */
export function readBody(request: Request, limitBytes: number, place: Place): Promise<BodyResult> {
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    let bytes = 0
    const onData = (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > limitBytes) settle({ kind: 'too-large' })
      else if (!place.arrived(chunk.length)) settle({ kind: 'no-room' })
      else chunks.push(chunk)
    }
    // The usual end, and nothing follows it: there is nobody left to be told to stop listening.
    const onEnd = () => {
      place.whole()
      resolve({ kind: 'ok', body: chunks.length === 1 ? chunks[0]! : concat(chunks) })
    }
    const onGone = () => settle({ kind: 'gone' })
    const settle = (result: BodyResult) => {
      request.off('data', onData)
      request.off('end', onEnd)
      request.off('error', onGone)
      request.off('close', onGone)
      resolve(result)
    }
    request.on('data', onData)
    request.on('end', onEnd)
    request.on('error', onGone)
    request.on('close', onGone)
  })
}

function concat(chunks: Buffer[]): Buffer {
  return chunks.length === 0 ? EMPTY : Buffer.concat(chunks)
}

/** An HTTP/2 client with more than this queued may break off instead of reading an early answer (seen with Node.js). */
const LARGE_BODY_BYTES = 1024 * 1024

/**
 * Reads on without keeping: the client of a refused request may still be sending, and must not be reset before it reads
 * the `answer`. It is given at once, but to an HTTP/2 client with a large body after that body.
 */
export function discardBody(request: Request, answer: () => void): void {
  const waits = request.httpVersionMajor === 2 && Number(request.headers['content-length']) > LARGE_BODY_BYTES
  let bytes = 0
  request.on('error', () => {})
  request.on('data', (chunk: Buffer) => {
    bytes += chunk.length
    if (bytes > MAX_DISCARDED_BYTES) request.destroy()
  })
  if (waits) request.once('end', answer)
  else answer()
}
