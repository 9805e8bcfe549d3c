// The stages in front of the gateway, each with its bound, and how all of them are shown.
import type { Config } from './config/schema.ts'
import { LoopDelay } from './domain/loopDelay.ts'
import type { Ledger, ModelStatus } from './gateway/ports.ts'
import type { SendStage } from './gateway/sendStage.ts'
import { Stage, type StageReading } from './gateway/stage.ts'
import { DemandReaders } from './http/demandReaders.ts'
import { Receiving } from './http/receiving.ts'
import { systemClock, watchLoop } from './system.ts'
import type { StageMetrics } from './telemetry/stageMetrics.ts'

export interface BuiltStages {
  /** What the data plane goes by. */
  door: { loop: LoopDelay; receiving: Receiving; identifying: Stage; pricing: DemandReaders }
  read(models: ModelStatus[]): StageReading[]
  /** By name, what is wrong; empty when all is well. */
  troubles(): Record<string, string>
  close(): Promise<void>
}

/** What changes while it runs. `maxWaiting`: of one model. */
interface Now {
  maxWaiting: () => number
  identifying: () => { depth: number; limit: number }
}

export function buildStages(
  { stages }: Config,
  { ledger, sends }: { ledger: Ledger; sends: SendStage },
  { maxWaiting, identifying }: Now,
  metrics: StageMetrics,
  fault: (error: unknown) => void,
): BuiltStages {
  const stage = (name: 'receive' | 'identify' | 'price', limit: number) =>
    new Stage(name, limit, systemClock, metrics.durations(name))
  const receive = stage('receive', stages.maxReceivingBytes)
  // For the times alone: who waits to be identified is counted where tokens are verified.
  const identify = stage('identify', 1)
  const price = stage('price', stages.maxPricing)
  const pricing = new DemandReaders({ stage: price, clock: systemClock, fault })
  const loop = new LoopDelay(stages.maxLoopDelayMs)
  const stopWatching = watchLoop((everyMs, lateMs) => loop.sample(everyMs, lateMs))
  const read = (models: ModelStatus[]): StageReading[] => {
    const waiting = models.flatMap(model => model.classes).reduce((sum, one) => sum + one.waiting, 0)
    const { backlog } = ledger.health()
    return [
      receive.reading(),
      { stage: 'identify', ...identifying() },
      price.reading(),
      { stage: 'admit', depth: waiting, limit: models.length * maxWaiting() },
      { stage: 'send', ...sends.reading() },
      ...(backlog ? [{ stage: 'settle' as const, ...backlog }] : []),
    ]
  }
  metrics.watch({
    read,
    refused: { receive: receive.refused, price: price.refused, 'event-loop': loop.refused },
    loopDelayMs: () => loop.delayMs,
  })
  return {
    door: { loop, receiving: new Receiving(receive, systemClock), identifying: identify, pricing },
    read,
    troubles() {
      const full = [receive, price].filter(one => one.isFull).map(one => one.name)
      return {
        ...(full.length > 0 && { stages: `full: ${full.join(', ')}` }),
        ...(loop.isLate && { eventLoop: `late: ${Math.round(loop.delayMs)} ms` }),
      }
    },
    async close() {
      stopWatching()
      await pricing.close()
    },
  }
}
