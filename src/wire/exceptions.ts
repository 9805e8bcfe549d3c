// Bedrock's errors as they travel: a status, the x-amzn-ErrorType header and {"message": …}.
import type { Operation } from './operations.ts'

/** Every exception name Bedrock Runtime answers with, and its HTTP status (AWS service model 2023-09-30). */
export const EXCEPTION_STATUS = {
  AccessDeniedException: 403,
  ConflictException: 400,
  InternalServerException: 500,
  ModelErrorException: 424,
  ModelNotReadyException: 429,
  ModelStreamErrorException: 424,
  ModelTimeoutException: 408,
  ResourceNotFoundException: 404,
  ServiceQuotaExceededException: 400,
  ServiceUnavailableException: 503,
  ThrottlingException: 429,
  ValidationException: 400,
} as const

export type ExceptionName = keyof typeof EXCEPTION_STATUS

export const TOO_MANY_REQUESTS = 'Too many requests, please wait before trying again.'
export const TOO_MANY_TOKENS = 'Too many tokens, please wait before trying again.'

const ERROR_TYPE_SUFFIX = ':http://internal.amazon.com/coral/com.amazon.bedrock/'

/** The value of x-amzn-ErrorType for an exception. */
export function errorTypeHeader(name: string): string {
  return name + ERROR_TYPE_SUFFIX
}

/** The exception's name out of an x-amzn-ErrorType header: cut at ',' and ':', and after '#', as the AWS SDKs do. */
export function exceptionName(errorTypeHeader: string): string {
  const cut = errorTypeHeader.split(/[,:]/, 1)[0]!
  return cut.slice(cut.indexOf('#') + 1).trim()
}

/** OpenAI's and Anthropic's error types by status; their SDKs show `error.message`, Bedrock's show `message`. */
const ERROR_TYPE_BY_STATUS: Record<number, string> = {
  400: 'invalid_request_error',
  403: 'permission_error',
  404: 'not_found_error',
  413: 'request_too_large',
  429: 'rate_limit_error',
  504: 'timeout_error',
}

/** The JSON body of an error, in the words of the operation's clients. */
export function exceptionBody(dialect: Operation['dialect'], status: number, name: string, message: string): string {
  if (dialect === 'bedrock') return JSON.stringify({ message })
  const type = ERROR_TYPE_BY_STATUS[status] ?? 'api_error'
  return JSON.stringify({ type: 'error', message, error: { type, code: name, message } })
}
