// Bytes that never became a request: answered once, in Bedrock's shape, and hung up on.
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { errorTypeHeader } from '../wire/exceptions.ts'

const BY_CODE: Record<string, { status: number; message: string }> = {
  HPE_HEADER_OVERFLOW: { status: 431, message: "The request's headers are larger than this server takes." },
  HPE_CHUNK_EXTENSIONS_OVERFLOW: { status: 413, message: "The request's chunk extensions are too large." },
  ERR_HTTP_REQUEST_TIMEOUT: { status: 408, message: 'The request took too long to arrive.' },
}
const MALFORMED = { status: 400, message: 'The request is not valid HTTP/1.1.' }

export function answerClientError(error: Error & { code?: string }, socket: Socket, requestId: string): void {
  // Behind an earlier answer, or in the middle of one, a second would be taken for part of it.
  if (error.code === 'ECONNRESET' || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy()
    return
  }
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
    () => socket.destroy(),
  )
}
