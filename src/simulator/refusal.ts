// How the simulator says no: a value, with Bedrock's exception and status.
import { EXCEPTION_STATUS, type ExceptionName } from '../wire/exceptions.ts'

export interface Refusal {
  status: number
  exception: string
  message: string
  /** Beyond those every answer has. */
  headers?: string[]
}

export function refusal(exception: ExceptionName, message: string): Refusal {
  return { status: EXCEPTION_STATUS[exception], exception, message }
}

export function isRefusal(value: object): value is Refusal {
  return 'exception' in value && 'status' in value
}

export const UNKNOWN_MODEL = refusal('ValidationException', 'The provided model identifier is invalid.')
export const MALFORMED = refusal(
  'ValidationException',
  'Malformed input request, please reformat your input and try again.',
)
