// Who is asking, while `auth.mode` is open: one client, and as user the best name the request offers, so that shares
// are fair before anyone has configured a key. Nothing secret is kept: a bearer becomes a short hash.
import { hash } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { type ClientFinder, type Flow, PRIORITIES, type Priority } from '../domain/model.ts'

export const OPEN_CLIENT = 'open'
/** Bounds what one request can make logs and /status carry. */
const MAX_USER_CHARS = 128
const CREDENTIAL = /Credential=([^/,\s]{1,128})\//

export type Identity =
  | { kind: 'ok'; flow: Flow; maxWaitMs: number | undefined }
  | { kind: 'malformed'; message: string }

export function identify(headers: IncomingHttpHeaders, address: string | undefined, clientOf: ClientFinder): Identity {
  const client = clientOf(OPEN_CLIENT)
  const priority = single(headers['x-sluice-priority'])?.toLowerCase() ?? client.priority
  if (!isPriority(priority)) {
    return malformed('x-sluice-priority', `one of ${PRIORITIES.join(', ')}`, priority)
  }
  const maxWait = single(headers['x-sluice-max-wait-ms'])
  const maxWaitMs = maxWait === undefined ? undefined : Number(maxWait)
  if (maxWaitMs !== undefined && !(/^\d{1,9}$/.test(maxWait!.trim()) && Number.isSafeInteger(maxWaitMs))) {
    return malformed('x-sluice-max-wait-ms', 'a whole number of milliseconds', maxWait!)
  }
  const user = single(headers['x-sluice-user']) || credentialId(headers) || address || 'unknown'
  const flow = {
    priority: atMost(client.maxPriority, priority),
    client: client.name,
    user: user.slice(0, MAX_USER_CHARS),
  }
  return { kind: 'ok', flow, maxWaitMs }
}

/** Who asks for more than is theirs gets what is theirs. */
function atMost(highest: Priority, wanted: Priority): Priority {
  return PRIORITIES.indexOf(wanted) < PRIORITIES.indexOf(highest) ? highest : wanted
}

function isPriority(value: string): value is Priority {
  return (PRIORITIES as readonly string[]).includes(value)
}

function malformed(header: string, expected: string, found: string): Identity {
  return { kind: 'malformed', message: `${header}: expected ${expected}, found ${JSON.stringify(found.slice(0, 40))}.` }
}

/** A SigV4 access key id is public; any other credential is shown only as a hash. */
function credentialId(headers: IncomingHttpHeaders): string | undefined {
  const authorization = headers.authorization
  const accessKeyId = authorization && CREDENTIAL.exec(authorization)?.[1]
  if (accessKeyId) return accessKeyId
  const secret = authorization?.replace(/^Bearer\s+/i, '') ?? single(headers['x-api-key'])
  return secret ? `key-${hash('sha256', secret, 'hex').slice(0, 12)}` : undefined
}

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}
