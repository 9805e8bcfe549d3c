// The stand-in Bedrock, without HTTP and without a real clock: requests in, replies out, all timing by the clock it is
// given and all chance from the seed. The server puts it on a port; simulations run it in virtual time.
import type { Clock } from '../domain/clock.ts'
import { matchOperation, type Route, type RouteMatch } from '../wire/operations.ts'
import { AsyncInvocations } from './asyncInvocations.ts'
import { type Leave, newCall, type SimulatedReply, type SimulatedRequest } from './call.ts'
import { Names, seededDice } from './dice.ts'
import { invoke } from './invocation.ts'
import { PromptCache } from './promptCache.ts'
import type { QuotaCounts } from './quota.ts'
import { Quotas } from './quotas.ts'
import { type Refusal, refusal } from './refusal.ts'
import { refuse } from './replies.ts'
import { changed, type SimulatorChange, type SimulatorSettings } from './settings.ts'
import { answerSide } from './sideOperations.ts'
import type { World } from './world.ts'

export type { Hold, Leave, SimulatedReply, SimulatedRequest } from './call.ts'
export type { QuotaCounts } from './quota.ts'

/** Bedrock's own bound on a body. */
export const MAX_BODY_BYTES = 25_000_000

export interface SimulatorCounts {
  /** Requests of any kind, admin aside. */
  requests: number
  /** By quota and Region; the ones without a quota last in `modelIds: []`. */
  quotas: QuotaCounts[]
}

export class Simulator {
  readonly #world: World
  /** The place of the latest request in the order of arrival; its chance hangs on it. */
  #place = 0
  #requests = 0

  constructor(settings: SimulatorSettings, clock: Clock) {
    this.#world = {
      settings,
      clock,
      quotas: new Quotas(settings.quotas, settings.window),
      promptCache: new PromptCache(),
      asyncInvocations: new AsyncInvocations(clock),
    }
  }

  get settings(): SimulatorSettings {
    return this.#world.settings
  }

  /** May answer before it returns. Calling the returned function tells that the caller went away. */
  receive(request: SimulatedRequest, reply: SimulatedReply): Leave {
    const { settings, clock, quotas } = this.#world
    this.#place += 1
    this.#requests += 1
    const match = matchOperation(request.method, request.rawUrl)
    const no = match.kind === 'found' ? tooLarge(request) : unrouted(match)
    if (no || match.kind !== 'found') {
      const requestId = new Names(seededDice(settings.seed, this.#place, 1)).uuid()
      const { dialect } = match.kind === 'found' ? match.route.operation : { dialect: 'bedrock' as const }
      refuse({ requestId, reply }, clock.nowMs(), dialect, no ?? unrouted(match))
      return () => {}
    }
    const region = quotas.regionOf(request.headers.authorization)
    const { operation, id }: Route = match.route
    const call = newCall(settings, this.#place, clock, { request, reply, operation, id, region })
    return operation.metered ? invoke(this.#world, call) : answerSide(this.#world, call)
  }

  /** Calls under way keep the pace and the faults they started with. */
  apply(change: SimulatorChange): void {
    const world = this.#world
    world.settings = changed(world.settings, change)
    if (change.quotas) world.quotas.replace(change.quotas)
    if (change.window) world.quotas.useWindow(change.window)
  }

  counts(): SimulatorCounts {
    return { requests: this.#requests, quotas: this.#world.quotas.counts() }
  }

  resetCounts(): void {
    this.#requests = 0
    this.#world.quotas.resetCounts()
  }
}

function tooLarge({ body }: SimulatedRequest): Refusal | undefined {
  if (body.length <= MAX_BODY_BYTES) return undefined
  const bound = `Member must have length less than or equal to ${MAX_BODY_BYTES}`
  return refusal(
    'ValidationException',
    `1 validation error detected: Value at 'body' failed to satisfy constraint: ${bound}`,
  )
}

function unrouted(match: RouteMatch): Refusal {
  if (match.kind === 'malformed') return refusal('ValidationException', `Malformed input request: ${match.reason}.`)
  const unknown = {
    exception: 'UnknownOperationException',
    message: 'The requested operation is not recognized by the service.',
  }
  if (match.kind !== 'wrong-method') return { ...unknown, status: 404 }
  return { ...unknown, status: 405, headers: ['Allow', match.allowed.join(', ')] }
}
