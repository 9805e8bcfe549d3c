// Bytes that never became a request: answered once, in Bedrock's shape, and hung up on.
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { Clock } from '../domain/clock.ts'
import { owesNothingEarlier } from '../transport/onePort.ts'
import { errorTypeHeader } from '../wire/exceptions.ts'
import { takeNoMoreFrom } from './lastWord.ts'

const BY_CODE: Record<string, { status: number; message: string }> = {
  HPE_HEADER_OVERFLOW: { status: 431, message: "The request's headers are larger than this server takes." },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { status: 413, message: "The request's chunk extensions are too large." },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, message: 'The request took too long to arrive.' },
}
const MALFORMED = { status: 400, message: 'The request is not valid HTTP/1.1.' }

/** A connection that is closed while its client still sends is reset, and the answer lost on its way. */
const LINGER_MS = 1_000
const answered = new WeakSet<Socket>()

/**
 * Node tells of each piece that still comes behind such bytes: those are dropped. Silence is for a connection on which another
 * request waits for its answer, or is in the middle of it; on any other a proxy would take silence for a server that has failed.
 */
export function answerClientError(
  error: Error & { code?: string },
  socket: Socket,
  requestId: string,
  clock: Clock,
): void {
  if (error.code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  if (answered.has(socket)) return
  if (!socket.writable || !owesNothingEarlier(socket)) {
    socket.destroy()
    return
  }
  answered.add(socket)
  takeNoMoreFrom(socket)
  const { status, message } = BY_CODE[error.code ?? ''] ?? MALFORMED
  const body = JSON.stringify({ message })
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      `x-amzn-ErrorType: ${errorTypeHeader('ValidationException')}`,
      `x-amzn-RequestId: ${requestId}`,
      'x-sluice-refusal: malformed-request',
      'Connection: close',
      '',
      body,
    ].join('\r\n'),
  )
  socket.once(
    'close',
    clock.after(LINGER_MS, () => socket.destroy()),
  )
}
