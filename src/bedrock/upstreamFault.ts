// What went wrong between us and the upstream, as a refusal. Nothing of the upstream's address reaches the client.
import { errors } from 'undici'
import type { Refusal } from '../domain/refusal.ts'

/** Credentials that stand in where any will do, as for a simulator, would be sent to AWS. */
export class StandInCredentials extends Error {}

const NO_CREDENTIALS = 'Sluice has no AWS credentials to call Bedrock with'

/** `sent`: the call was on its way to Bedrock already, which may have answered and charged it. */
export function upstreamFault(error: unknown, sent: boolean): Refusal {
  if (error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError) {
    return { code: 'upstream-timeout', message: 'The model took too long to answer.' }
  }
  if (error instanceof errors.HTTPParserError || error instanceof errors.HeadersOverflowError) {
    return { code: 'upstream-invalid', message: 'Bedrock sent an answer that is not valid HTTP.' }
  }
  if (sent) {
    return {
      code: 'upstream-cut',
      message: `The connection to Bedrock broke before the answer was whole${codeOf(error)}.`,
    }
  }
  if (error instanceof StandInCredentials) {
    const message = `${NO_CREDENTIALS}: the access key id it was given is shorter than any of AWS.`
    return { code: 'upstream-unreachable', message }
  }
  if (error instanceof Error && error.name === 'CredentialsProviderError') {
    return { code: 'upstream-unreachable', message: `${NO_CREDENTIALS}.` }
  }
  return { code: 'upstream-unreachable', message: `Bedrock could not be reached${codeOf(error)}.` }
}

/** ECONNREFUSED, UND_ERR_SOCKET and the like: codes tell the kind of fault and nothing else. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return ''
  return ` (${error.code})`
}
