// How a call to Redis fails. ioredis hangs the command's arguments on its errors, AUTH's password among them, and
// Cluster errors hold further errors: so none of theirs leaves this room, only its text, with the secrets taken out.

/**
 * - `away`: never sent, Redis is not there; nothing has happened.
 * - `lost`, `timeout`: sent, and nobody knows whether it ran.
 * - `reply`: Redis answered with an error.
 */
export type RedisFaultKind = 'away' | 'lost' | 'timeout' | 'reply'

export class RedisFault extends Error {
  readonly kind: RedisFaultKind

  constructor(kind: RedisFaultKind, message: string) {
    super(message)
    this.name = 'RedisFault'
    this.kind = kind
  }
}

/** A user or password, however short, in any text Redis or the network may have put it. */
export function secretRemover(secrets: (string | undefined)[]): (text: string) => string {
  const spellings = secrets
    .filter(secret => secret !== undefined && secret !== '')
    .flatMap(secret => [secret!, encodeURIComponent(secret!)])
    .toSorted((a, b) => b.length - a.length)
  return text => spellings.reduce((clean, secret) => clean.replaceAll(secret, '***'), text)
}

/** ioredis tells its own faults only by their words. */
export function faultKind(error: unknown): RedisFaultKind {
  const { name, message } = error as Error
  if (message === 'Command timed out') return 'timeout'
  if (/enableOfflineQueue|^Cluster isn't ready|^No sharded subscriber|^No subscriber/.test(message)) return 'away'
  return name === 'ReplyError' ? 'reply' : 'lost'
}

const BROKEN = 'the connection broke before the answer came'

/** What an operator can act on: of a cluster's "all nodes failed", the last node's own words. */
export function faultText(error: unknown): string {
  const { message, code, errors, lastNodeError } = error as Error & {
    code?: string
    errors?: unknown[]
    lastNodeError?: unknown
  }
  if (lastNodeError) return faultText(lastNodeError)
  if (message === 'Command timed out') return 'no answer in time'
  if (message?.startsWith('Reached the max retries') || message === 'Connection is closed.') return BROKEN
  // Several addresses of one name were tried: an AggregateError has no words of its own.
  if (!message && errors?.[0]) return faultText(errors[0])
  return message || code || 'unknown'
}
