// The heads and bodies every answer shares: date, request id, and exceptions in the words of the operation's clients.
import { errorTypeHeader, exceptionBody } from '../wire/exceptions.ts'
import type { Operation } from '../wire/operations.ts'
import type { Call, SimulatedReply } from './call.ts'
import type { Refusal } from './refusal.ts'

/** The type first, then what is particular to the answer. */
export function headers(
  call: Pick<Call, 'requestId'>,
  nowMs: number,
  type: string,
  particular: string[] = [],
): string[] {
  const date = new Date(nowMs).toUTCString()
  return ['Date', date, 'Content-Type', type, 'x-amzn-RequestId', call.requestId, ...particular]
}

/** A whole exception, ready to send. */
export function exceptionAnswer(
  call: Pick<Call, 'requestId'>,
  nowMs: number,
  dialect: Operation['dialect'],
  no: Refusal,
): { status: number; headers: string[]; body: Buffer; cut: boolean } {
  const particular = ['x-amzn-ErrorType', errorTypeHeader(no.exception), ...(no.headers ?? [])]
  return {
    status: no.status,
    headers: headers(call, nowMs, 'application/json', particular),
    body: Buffer.from(exceptionBody(dialect, no.status, no.exception, no.message)),
    cut: false,
  }
}

/** Sends an exception at once. */
export function refuse(
  call: Pick<Call, 'requestId'> & { reply: SimulatedReply },
  nowMs: number,
  dialect: Operation['dialect'],
  no: Refusal,
): void {
  const answer = exceptionAnswer(call, nowMs, dialect, no)
  call.reply.head(answer.status, [...answer.headers, 'Content-Length', String(answer.body.length)])
  call.reply.data(answer.body)
  call.reply.end()
}
