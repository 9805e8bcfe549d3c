// Settings of a model that a test has no opinion on: their defaults.
import type { ModelSettings } from '../../src/domain/model.ts'

export const PLAIN: Pick<ModelSettings, 'pace' | 'aimd' | 'fallback' | 'mockText' | 'coalesce' | 'outputCap'> = {
  pace: 'adaptive',
  aimd: { start: 100, min: 10, max: 200, increase: 1.1, successes: 100, decrease: 0.5 },
  fallback: [],
  mockText: 'placeholder',
  coalesce: 'off',
  outputCap: { mode: 'off', tokens: 4096, margin: 1.5, floor: 256, saturation: 1 },
}
