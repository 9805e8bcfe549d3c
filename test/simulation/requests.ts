// The kinds of request the simulated users send. Sizes are those of the prototype the figures of ALGORITHMS.md come from
// (reference/multipool.mjs): reserved = input + max output, charged = input + 5 × output.
import { Chance } from './virtualTime.ts'

export interface Size {
  reservedTokens: number
  chargedTokens: number
  /** How long the upstream takes over it. */
  durationMs: number
}

export type Kind = 'mid' | 'tiny' | 'large' | 'light' | 'chat'

interface Shape {
  input: (chance: Chance) => number
  maxOutput: number
  output: [least: number, most: number]
}

const OUTPUT_BURNDOWN = 5
const FIRST_TOKEN_MS = 400
const PER_TOKEN_MS = 12

const SHAPES: Record<Kind, Shape> = {
  mid: { input: chance => chance.logNormal(1500, 0.6), maxOutput: 1024, output: [50, 300] },
  tiny: { input: () => 150, maxOutput: 100, output: [20, 40] },
  large: { input: chance => chance.between(44_000, 50_000), maxOutput: 10_000, output: [500, 2500] },
  light: {
    input: chance => Math.min(4000, Math.max(200, chance.logNormal(600, 0.8))),
    maxOutput: 512,
    output: [30, 150],
  },
  chat: { input: chance => chance.logNormal(700, 0.5), maxOutput: 512, output: [30, 150] },
}

export function drawSize(kind: Kind, chance: Chance): Size {
  const shape = SHAPES[kind]
  const input = Math.round(shape.input(chance))
  const output = Math.round(chance.between(...shape.output))
  return {
    reservedTokens: input + shape.maxOutput,
    chargedTokens: input + OUTPUT_BURNDOWN * output,
    durationMs: FIRST_TOKEN_MS + PER_TOKEN_MS * output,
  }
}

const SAMPLES = 4000
const SAMPLE_SEED = 7
const samples = new Map<Kind, number[]>()

/** Charges of many requests of the kind, in ascending order: what a fluid server would be fed. */
export function sampleCharges(kind: Kind): number[] {
  let charges = samples.get(kind)
  if (!charges) {
    const chance = new Chance(SAMPLE_SEED)
    charges = Array.from({ length: SAMPLES }, () => drawSize(kind, chance).chargedTokens).sort((a, b) => a - b)
    samples.set(kind, charges)
  }
  return charges
}

/** What the seconds of quota `perRequest` (1/R) and `perToken` (1/T) make the mean request of the kind cost. */
export function meanCostS(kind: Kind, requestsPerS: number, tokensPerS: number): number {
  const charges = sampleCharges(kind)
  return charges.reduce((sum, tokens) => sum + Math.max(1 / requestsPerS, tokens / tokensPerS), 0) / charges.length
}
