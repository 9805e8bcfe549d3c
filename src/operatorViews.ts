// What operators are told: whether it can serve, and how everything stands.
import type { Core } from './core.ts'
import { adviceOn } from './domain/advice.ts'
import type { Ledger } from './gateway/ports.ts'
import type { Readiness } from './http/app.ts'
import type { LiveSettings } from './liveSettings.ts'
import type { BuiltStages } from './stages.ts'

export function readiness(draining: boolean, ledger: Ledger, stages: BuiltStages): Readiness {
  const { kind, degraded } = ledger.health()
  const part = degraded === undefined ? kind : `${kind}, degraded: ${degraded}`
  const parts = { ledger: part, ...stages.troubles() }
  const isWell = degraded === undefined && Object.keys(parts).length === 1
  return { status: draining ? 'draining' : isWell ? 'ready' : 'degraded', parts }
}

export async function statusOf(
  { ledger, book, pushback }: Core,
  live: LiveSettings,
  stages: BuiltStages,
): Promise<object> {
  const [models, standings] = await Promise.all([ledger.status(), pushback.standings()])
  const control = new Map(standings.map(({ model, ...standing }) => [model, standing]))
  const known = models.map(status => {
    const settings = live.config.models.find(model => model.name === status.model)
    const advice = settings ? adviceOn(settings.outputCap.mode, status) : []
    return { ...status, control: control.get(status.model), advice }
  })
  return { ledger: ledger.health(), inFlight: book.inFlight, stages: stages.read(models), models: known }
}
