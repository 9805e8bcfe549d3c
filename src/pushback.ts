// What stands between a failing Bedrock and a calm client, put together: retries, the send stage, the control loops, and what
// is logged and counted of them.
import type { Config } from './config/schema.ts'
import { type SteeringEvent, type SteeringSettings, standings, steer } from './domain/steering.ts'
import { ControlLoop, type ModelStanding } from './gateway/controlLoop.ts'
import type { GatewayParts } from './gateway/gateway.ts'
import type { Law } from './gateway/law.ts'
import type { Board } from './gateway/ports.ts'
import { Retries } from './gateway/retries.ts'
import { SendStage } from './gateway/sendStage.ts'
import type { LiveSettings } from './liveSettings.ts'
import { soon, systemClock, systemDice } from './system.ts'
import type { Logger } from './telemetry/log.ts'
import type { Metrics } from './telemetry/metrics.ts'

export interface Pushback {
  parts: Pick<GatewayParts, 'retries' | 'sends' | 'control' | 'onRetry'>
  /** Of every model of the config. */
  standings(): Promise<ModelStanding[]>
  close(): void
}

/** Of each model, by its settings as they are now; a model that a reload has dropped is decided on no more. */
function lawOf(live: LiveSettings): Law {
  const settingsOf = (name: string): SteeringSettings => {
    const model = live.config.models.find(one => one.name === name)
    const { pace, aimd, pools } = model ?? { ...live.config.models[0]!, pools: [] }
    return { pace, aimd, pools, breaker: live.config.breaker }
  }
  return {
    steer: (model, state, reports, nowMs) => steer(state, reports, settingsOf(model), nowMs, systemDice),
    standings: (model, state, nowMs) => standings(state, settingsOf(model), nowMs),
  }
}

export function buildPushback(
  config: Config,
  live: LiveSettings,
  board: Board,
  log: Logger,
  metrics: Metrics,
): Pushback {
  const control = new ControlLoop({
    board,
    law: lawOf(live),
    clock: systemClock,
    dice: systemDice,
    soon,
    onEvents(model, events) {
      metrics.pushback.happened(model, events)
      for (const event of events) logEvent(log, model, event)
    },
    onTrouble(model, reason) {
      if (reason === undefined) log.info({ model }, 'the control loop reports again')
      else log.warn({ model, reason }, 'the control loop cannot report')
    },
  })
  const all = () => Promise.all(live.config.models.map(({ name }) => control.of(name).standing()))
  metrics.pushback.watch(all)
  return {
    parts: {
      retries: new Retries({
        settings: () => live.config.retries,
        clock: systemClock,
        dice: systemDice,
        onRefused: model => metrics.pushback.budgetRefused(model),
      }),
      sends: new SendStage({ settings: config.stages, clock: systemClock }),
      control,
      onRetry: retry => metrics.retried(retry),
    },
    standings: all,
    close: () => control.close(),
  }
}

function logEvent(log: Logger, model: string, { kind, ...event }: SteeringEvent): void {
  if (kind === 'breaker') log.warn({ model, ...event }, 'breaker')
  else log.info({ model, ...event }, 'pace cut')
}
