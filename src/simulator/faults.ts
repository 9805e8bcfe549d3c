// What goes wrong with a call. All of it is drawn at the start and in one order, so rates do not disturb each other.
import type { Dice } from '../domain/clock.ts'
import { type ExceptionName, TOO_MANY_TOKENS } from '../wire/exceptions.ts'
import { oneOf } from './dice.ts'
import type { JsonObject } from './json.ts'
import { type Refusal, refusal } from './refusal.ts'
import type { Faults } from './settings.ts'

export interface FaultDraw {
  /** Answered at once: an exception, or the connection destroyed. */
  outage: Refusal | 'cut' | undefined
  /** Answered in place of the first token. */
  error: Refusal | undefined
  slowMs: number
  /** How the answer breaks off, `part` of the way through: 0 to 1. */
  broken: { how: 'cut' | StreamException; part: number } | undefined
}

export interface StreamException {
  /** As frames spell it: lower camel case. */
  type: string
  name: ExceptionName
  payload: JsonObject & { message: string }
}

const ERRORS: [Refusal, Refusal] = [
  refusal(
    'InternalServerException',
    'The system encountered an unexpected error during processing. Try your request again.',
  ),
  refusal('ServiceUnavailableException', 'Bedrock is unable to process your request.'),
]

const STREAM_EXCEPTIONS: [StreamException, ...StreamException[]] = [
  streamException('internalServerException', 'InternalServerException', ERRORS[0].message),
  streamException(
    'modelStreamErrorException',
    'ModelStreamErrorException',
    'The model failed while it was streaming.',
    {
      originalMessage: 'The model failed while it was streaming.',
      originalStatusCode: 500,
    },
  ),
  streamException('serviceUnavailableException', 'ServiceUnavailableException', ERRORS[1].message),
  streamException('throttlingException', 'ThrottlingException', TOO_MANY_TOKENS),
]

export function drawFault(dice: Dice, faults: Faults): FaultDraw {
  const coin = dice() < 0.5
  const error = dice() < faults.errorRate ? oneOf(dice, ERRORS) : undefined
  const slowMs = dice() < faults.slowRate ? faults.slowMs : 0
  const part = dice()
  const cut = dice() < faults.cutRate
  const exception = dice() < faults.streamExceptionRate ? oneOf(dice, STREAM_EXCEPTIONS) : undefined
  const how = cut ? 'cut' : exception
  return {
    outage: faults.outage ? (coin ? 'cut' : ERRORS[1]) : undefined,
    error,
    slowMs,
    broken: how && { how, part },
  }
}

function streamException(type: string, name: ExceptionName, message: string, rest: JsonObject = {}): StreamException {
  return { type, name, payload: { message, ...rest } }
}
