// The ledger of one process.
import type { Clock } from '../domain/clock.ts'
import type { ModelSettings } from '../domain/model.ts'
import { createLedger } from '../gateway/ledger.ts'
import type { AdmissionSettings, Ledger } from '../gateway/ports.ts'
import { RoomKeeper } from './roomKeeper.ts'

export function createMemoryLedger(models: ModelSettings[], admission: AdmissionSettings, clock: Clock): Ledger {
  return createLedger({
    models,
    admission,
    kind: 'memory',
    makeRoom: (_model, settings) => new RoomKeeper(settings, clock),
    troubleOf: () => undefined,
  })
}
