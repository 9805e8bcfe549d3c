// What a request asks for by Sluice's own headers, within what its client may: whose line it stands in, and for how long.
import type { IncomingHttpHeaders } from 'node:http'
import { type ClientFinder, type Flow, PRIORITIES, type Priority } from '../domain/model.ts'
import type { Known } from '../identity/who.ts'

/** Bounds what one request can make logs and /status carry. */
const MAX_USER_CHARS = 128

export type Identity =
  | { kind: 'ok'; flow: Flow; maxWaitMs: number | undefined }
  | { kind: 'malformed'; message: string }

export function identify(headers: IncomingHttpHeaders, who: Known, clientOf: ClientFinder): Identity {
  const client = clientOf(who.client)
  const priority = single(headers['x-sluice-priority'])?.toLowerCase() ?? who.priority ?? client.priority
  if (!isPriority(priority)) {
    return malformed('x-sluice-priority', `one of ${PRIORITIES.join(', ')}`, priority)
  }
  const maxWait = single(headers['x-sluice-max-wait-ms'])
  const maxWaitMs = maxWait === undefined ? undefined : Number(maxWait)
  if (maxWaitMs !== undefined && !(/^\d{1,9}$/.test(maxWait!.trim()) && Number.isSafeInteger(maxWaitMs))) {
    return malformed('x-sluice-max-wait-ms', 'a whole number of milliseconds', maxWait!)
  }
  const user = (!who.isUserProven && single(headers['x-sluice-user'])) || who.user
  const flow = {
    priority: atMost(client.maxPriority, atMost(who.maxPriority ?? client.maxPriority, priority)),
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

function single(value: string | string[] | undefined): string | undefined {
  return Array.isArray(value) ? value[0] : value
}
