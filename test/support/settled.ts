// What must hold after every call, however it ended: nobody in flight, nothing reserved, one line in the log.
import assert from 'node:assert/strict'
import type { ModelStatus } from '../../src/gateway/ports.ts'
import type { TestSluice } from './sluice.ts'
import { callHttp1, until } from './wire.ts'

export interface Status {
  inFlight: number
  models: ModelStatus[]
}

export async function statusOf(sluice: TestSluice): Promise<Status> {
  return JSON.parse((await callHttp1(sluice.url, { method: 'GET', path: '/status' })).body.toString())
}

export interface Line {
  outcome: string
  status: number | undefined
  refusal: string | undefined
  attempts: number
  throttles: number
  reservedTokens: number
  chargedTokens: number
  requestId: string
  pool: string | undefined
}

export function invocations(sluice: TestSluice): Line[] {
  return sluice.logged().flatMap(line => (line.msg === 'invocation' ? [line as unknown as Line] : []))
}

/** Runs `calls` and returns the lines logged for them: exactly one each; afterwards nothing waits or is held. */
export async function settledAfter(sluice: TestSluice, count: number, calls: () => Promise<void>): Promise<Line[]> {
  const before = invocations(sluice).length
  await calls()
  await until(async () => (await statusOf(sluice)).inFlight === 0, 'nothing in flight')
  const { models } = await statusOf(sluice)
  for (const { waiting, inFlight, classes } of models) {
    assert.deepEqual({ waiting, inFlight }, { waiting: 0, inFlight: 0 })
    // What waits is counted by class, client and flow: each must be back at nothing.
    for (const one of classes) {
      const ofClients = one.clients.reduce((sum, client) => sum + client.waiting, 0)
      assert.deepEqual([one.waiting, ofClients, one.flows], [0, 0, []], one.priority)
    }
  }
  const lines = invocations(sluice).slice(before)
  assert.equal(lines.length, count, 'one line for each call')
  return lines
}
