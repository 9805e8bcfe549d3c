// The simulator's own routes, beside Bedrock's: look at it, change it while it runs, start its counts over.
import type { SimulatedRequest } from './call.ts'
import { readChange } from './change.ts'
import { parseJson } from './json.ts'
import type { Simulator } from './simulator.ts'

export interface AdminReply {
  status: number
  body: unknown
}

/** Undefined: the request is not for the admin. A change is applied whole or not at all. */
export function answerAdmin(simulator: Simulator, request: SimulatedRequest): AdminReply | undefined {
  const path = request.rawUrl.split('?', 1)[0]
  if (path === '/_simulator') {
    if (request.method === 'GET') return { status: 200, body: state(simulator) }
    return request.method === 'POST' ? change(simulator, request) : wrongMethod('GET, POST')
  }
  if (path !== '/_simulator/counts') return undefined
  if (request.method !== 'DELETE') return wrongMethod('DELETE')
  simulator.resetCounts()
  return { status: 200, body: state(simulator) }
}

function change(simulator: Simulator, request: SimulatedRequest): AdminReply {
  const parsed = parseJson(request.body)
  if (!parsed) return { status: 400, body: { message: 'The body is not JSON.', faults: [] } }
  const read = readChange(parsed.value)
  if ('faults' in read) return { status: 400, body: { message: 'Nothing was changed.', faults: read.faults } }
  simulator.apply(read.change)
  return { status: 200, body: state(simulator) }
}

function state(simulator: Simulator) {
  return { settings: simulator.settings, counts: simulator.counts() }
}

function wrongMethod(allowed: string): AdminReply {
  return { status: 405, body: { message: `Allowed here: ${allowed}.` } }
}
