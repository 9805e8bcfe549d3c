// Does Bedrock say that it has failed, and that the same call may well succeed elsewhere or in a moment? What the AWS SDKs
// retry: 500, 502, 503, 504 and a model that is not ready; and 529, the Messages route's word for overload, which
// Anthropic's and OpenAI's SDKs retry. A model's own error (424) would come again, and one that ran into its time limit (408)
// would run into it again: no AWS SDK retries either.
import { exceptionName } from '../wire/exceptions.ts'

const STATUSES = new Set([500, 502, 503, 504, 529])

export function isFailure(status: number, errorType: string | undefined): boolean {
  if (status === 429) return errorType !== undefined && exceptionName(errorType) === 'ModelNotReadyException'
  return STATUSES.has(status)
}
