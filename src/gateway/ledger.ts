// A ledger is a room for each model; which kind of room is for whoever makes it.
import type { ModelSettings } from '../domain/model.ts'
import { MOST_STATE } from '../domain/poolReport.ts'
import type { RoomSettings } from '../domain/room.ts'
import type { AdmissionSettings, Decision, Ledger, LedgerHealth, Outcome, RoomLedger } from './ports.ts'

export interface LedgerParts<Room extends RoomLedger> {
  models: ModelSettings[]
  admission: AdmissionSettings
  makeRoom: (model: string, settings: RoomSettings) => Room
  /** Why this process is on its own with a model. */
  troubleOf: (room: Room) => string | undefined
  /** Its settlements that are still to be told; absent: none ever are. */
  backlogOf?: (room: Room) => { depth: number; limit: number }
  kind: LedgerHealth['kind']
}

export function createLedger<Room extends RoomLedger>(parts: LedgerParts<Room>): Ledger {
  const rooms = new Map(
    parts.models.map(model => [model.name, parts.makeRoom(model.name, roomSettings(model, parts.admission))]),
  )
  let configured = namesOf(parts.models)
  const room = (name: string): Room => {
    const found = rooms.get(name)
    if (!found) throw new Error(`the ledger has no model ${name}`)
    return found
  }
  return {
    acquire: (ask, presence) => room(ask.model).acquire(ask, presence).then(decided),
    requeue: (ask, presence, charged) => room(ask.model).requeue(ask, presence, charged).then(decided),
    settle: (ask, chargedTokens) => void room(ask.model).settle(ask.ticketId, chargedTokens),
    report: (model, news) => room(model).report(news),
    async steer(model, steering) {
      const { length } = steering.state
      if (length > MOST_STATE)
        throw new Error(`the state of ${model}'s step has ${length} characters, more than ${MOST_STATE}`)
      await room(model).steer(steering)
    },
    configure(models, admission) {
      configured = namesOf(models)
      for (const model of models) {
        const settings = roomSettings(model, admission)
        const known = rooms.get(model.name)
        if (known) known.configure(settings)
        else rooms.set(model.name, parts.makeRoom(model.name, settings))
      }
    },
    async status() {
      const all = await Promise.all(
        [...rooms].map(async ([model, one]) => {
          const degraded = parts.troubleOf(one)
          return { model, ...(await one.status()), ...(degraded && { degraded }) }
        }),
      )
      // A model that a reload has removed is told of for as long as somebody waits or is being answered there.
      return all.filter(({ model, waiting, inFlight }) => configured.has(model) || waiting + inFlight > 0)
    },
    health() {
      const degraded = [...rooms.values()].map(parts.troubleOf).find(trouble => trouble !== undefined)
      return { kind: parts.kind, ...(degraded && { degraded }), ...backlog(parts, [...rooms.values()]) }
    },
  }
}

function backlog<Room extends RoomLedger>({ backlogOf }: LedgerParts<Room>, rooms: Room[]): Partial<LedgerHealth> {
  if (!backlogOf) return {}
  const each = rooms.map(backlogOf)
  const sum = (figure: 'depth' | 'limit') => each.reduce((all, one) => all + one[figure], 0)
  return { backlog: { depth: sum('depth'), limit: sum('limit') } }
}

function namesOf(models: ModelSettings[]): Set<string> {
  return new Set(models.map(({ name }) => name))
}

function roomSettings(model: ModelSettings, admission: AdmissionSettings): RoomSettings {
  const { burst, maxWaiting, maxWaitingPerClient, failures } = admission
  const pools = model.pools.map(({ name, requestsPerMinute, tokensPerMinute }) => ({
    name,
    requestsPerMinute,
    tokensPerMinute,
  }))
  return { pools, burstShare: burst, maxWaiting, maxWaitingPerClient, failures }
}

function decided(outcome: Outcome): Decision {
  if (outcome.kind === 'moved') throw new Error('a ledger has nowhere to move to')
  return outcome
}
