// What every scenario hands back: figures to compare, promises broken (none, it is hoped), and what each source was given,
// from which charts are drawn.
import type { Figures } from './figures.ts'
import type { Account } from './sources.ts'

export interface Outcome {
  figures: Figures
  /** Turns given twice, calls that never ended: in words. */
  broken: string[]
  accounts: Account[]
  durationS: number
  /** Seconds of quota a second that a fluid server would give each group; without it, charts show parts of the quota. */
  fairPerS?: Map<string, number>
}

export interface RunOptions {
  seed: number
  gateways?: number | undefined
}
