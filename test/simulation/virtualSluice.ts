// A whole Sluice in virtual time: the real gateway, ledger, pricing, throttle and usage reading over the real simulator.
// Only sockets are missing; in their place every message takes a moment, drawn from the seed.
import type { Dispatcher } from 'undici'
import { Reply } from '../../src/bedrock/reply.ts'
import type { Dice } from '../../src/domain/clock.ts'
import { InputEstimate } from '../../src/domain/estimate.ts'
import type { ModelSettings } from '../../src/domain/model.ts'
import { Book } from '../../src/gateway/book.ts'
import { Gateway } from '../../src/gateway/gateway.ts'
import type { Answer, Finished, Upstream } from '../../src/gateway/ports.ts'
import { Presence } from '../../src/gateway/presence.ts'
import { RightSizer } from '../../src/gateway/rightSizer.ts'
import { createMemoryLedger } from '../../src/memory/ledger.ts'
import type { SimulatorSettings } from '../../src/simulator/settings.ts'
import { type SimulatedReply, Simulator } from '../../src/simulator/simulator.ts'
import { readDemand } from '../../src/wire/demand.ts'
import { matchOperation } from '../../src/wire/operations.ts'
import { pushbackParts } from '../support/pushback.ts'
import { VirtualClock } from '../support/virtualClock.ts'

/** One way between gateway and Bedrock. */
const SHORTEST_TRIP_MS = 2
const LONGEST_TRIP_MS = 30

export interface VirtualSluice {
  clock: VirtualClock
  simulator: Simulator
  finished: Finished[]
  /** Sends one Converse call; `maxWaitMs` is its deadline. */
  converse(user: string, body: Buffer, maxWaitMs: number): Promise<void>
}

export function virtualSluice(model: ModelSettings, settings: SimulatorSettings, dice: Dice): VirtualSluice {
  const clock = new VirtualClock()
  const simulator = new Simulator(settings, clock)
  const finished: Finished[] = []
  const gateway = new Gateway({
    ledger: createMemoryLedger([model], { burst: 0.05, maxWaiting: 10_000, maxWaitingPerClient: 10_000 }, clock),
    upstream: simulatedUpstream(simulator, clock, dice),
    clock,
    estimates: new Map([[model.name, new InputEstimate(model.bytesPerToken)]]),
    weightOf: () => 1,
    poolOf: (_model, pool) => model.pools.find(one => one.name === pool),
    unmeteredPool: () => model.pools[0]!,
    ...pushbackParts({ clock, dice }),
  })
  const rightSizer = new RightSizer({ handler: gateway, useOf: () => 0, capped() {} })
  const book = new Book(rightSizer, { finished: run => finished.push({ ...run }) })
  const rawUrl = '/model/anthropic.claude-test-v1%3A0/converse'
  const match = matchOperation('POST', rawUrl)
  if (match.kind !== 'found') throw new Error('no such route')
  const { operation } = match.route
  let count = 0
  return {
    clock,
    simulator,
    finished,
    converse(user, body, maxWaitMs) {
      const read = readDemand(operation, body)
      if (read.kind === 'malformed') throw new Error(read.message)
      const invocation = {
        id: `ticket-${count++}`,
        model,
        demand: read.demand,
        flow: { priority: 'normal' as const, client: 'open', user },
        maxWaitMs,
        request: { operation, modelId: match.route.id!, rawUrl, headers: [], body },
        presence: new Presence(),
      }
      return book.handle(invocation, NOWHERE)
    },
  }
}

const NOWHERE: Answer = { head() {}, data() {}, end() {}, cut() {}, refuse() {} }

function simulatedUpstream(simulator: Simulator, clock: VirtualClock, dice: Dice): Upstream {
  const tripMs = () => SHORTEST_TRIP_MS + dice() * (LONGEST_TRIP_MS - SHORTEST_TRIP_MS)
  return {
    send(_pool, request, receiver) {
      const reply = new Reply(request.operation, receiver, clock)
      const backMs = tripMs()
      const later = (task: () => void) => clock.after(backMs, task)
      let headers: string[] = []
      const controller: Dispatcher.DispatchController = {
        get rawHeaders() {
          return headers
        },
        aborted: false,
        paused: false,
        reason: null,
        abort() {},
        pause() {},
        resume() {},
      }
      const back: SimulatedReply = {
        head(status, sent) {
          later(() => {
            headers = sent
            reply.onResponseStart(controller, status)
          })
        },
        data(chunk) {
          later(() => reply.onResponseData(controller, chunk))
          return undefined
        },
        end: () => void later(() => reply.onResponseEnd()),
        cut: () => void later(() => reply.onResponseError(controller, new Error('cut'))),
      }
      clock.after(tripMs(), () => {
        simulator.receive({ method: 'POST', rawUrl: request.rawUrl, headers: {}, body: request.body }, back)
      })
      return reply
    },
  }
}
