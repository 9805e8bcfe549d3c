// The ledger that all replicas share: a room in Redis for each model, and one in this process for while Redis is away.
import type { Clock, Dice } from '../domain/clock.ts'
import type { ModelSettings } from '../domain/model.ts'
import type { RoomSettings } from '../domain/room.ts'
import { createLedger } from '../gateway/ledger.ts'
import type { AdmissionSettings, Ledger, StandIn } from '../gateway/ports.ts'
import { MOST_CHARGES } from './arrears.ts'
import type { RedisLink } from './connection.ts'
import { grantsChannel } from './keys.ts'
import { RemoteRoom } from './remoteRoom.ts'
import { type CallObserver, RoomCalls } from './roomCalls.ts'
import { SharedRoom } from './sharedRoom.ts'

export interface RedisLedgerParts {
  link: RedisLink
  models: ModelSettings[]
  admission: AdmissionSettings
  /** This replica's name, unlike any other's. */
  gateway: string
  clock: Clock
  dice: Dice
  /** Runs the task at the end of this turn of the event loop. */
  soon: (task: () => void) => void
  makeStandIn: (settings: RoomSettings) => StandIn
  /** Told of each call to Redis that has ended. */
  onCall?: (model: string, call: string, ms: number, ok: boolean) => void
  /** Told when this gateway begins to be on its own with a model (why), and when it no longer is (undefined). */
  onTrouble: (model: string, reason: string | undefined) => void
}

/** How long a start waits for Redis before it serves without. */
const FIRST_CONTACT_MS = 1_000

export interface RedisLedger extends Ledger {
  /** Resolves when Redis has been found, or not. */
  start(): Promise<void>
  /** Resolves when what was settled and who waited has been told, as far as Redis hears it. */
  close(): Promise<void>
}

export function createRedisLedger(parts: RedisLedgerParts): RedisLedger {
  const { link, gateway } = parts
  const rooms: SharedRoom[] = []
  const endings: (() => void)[] = []
  let isStarted = false
  const makeRoom = (model: string, settings: RoomSettings): SharedRoom => {
    const room = makeSharedRoom(parts, model, settings)
    rooms.push(room)
    endings.push(
      link.subscribe(grantsChannel(model, gateway), () => room.hint()),
      link.onDown(reason => room.linkDown(reason)),
    )
    if (isStarted) void room.start()
    return room
  }
  const ledger = createLedger({
    models: parts.models,
    admission: parts.admission,
    kind: 'redis',
    makeRoom,
    troubleOf: room => room.trouble,
    backlogOf: room => ({ depth: room.owed, limit: MOST_CHARGES }),
  })
  return {
    ...ledger,
    async start() {
      await firstContact(link, parts.clock)
      isStarted = true
      await Promise.all(rooms.map(room => room.start()))
    },
    async close() {
      for (const end of endings) end()
      await Promise.all(rooms.map(room => room.close()))
    },
  }
}

function makeSharedRoom(parts: RedisLedgerParts, model: string, settings: RoomSettings): SharedRoom {
  const { link, gateway, clock, dice, soon } = parts
  const calls = new RoomCalls(link, model, gateway, observerOf(parts, model))
  return new SharedRoom(settings, {
    clock,
    remote: onClosed => new RemoteRoom(settings, { calls, gateway, clock, dice, soon, onClosed }),
    standIn: parts.makeStandIn(settings),
    onTrouble: reason => parts.onTrouble(model, reason),
  })
}

function observerOf({ clock, onCall }: RedisLedgerParts, model: string): CallObserver {
  return call => {
    const beganMs = clock.nowMs()
    return ok => onCall?.(model, call, Math.max(0, clock.nowMs() - beganMs), ok)
  }
}

function firstContact(link: RedisLink, clock: Clock): Promise<void> {
  if (link.isUp) return Promise.resolve()
  return new Promise(resolve => {
    const done = () => {
      cancel()
      end()
      resolve()
    }
    const cancel = clock.after(FIRST_CONTACT_MS, done)
    const end = link.onUp(done)
  })
}
