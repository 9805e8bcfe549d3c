// The requests behind the figures of ALGORITHMS.md §4 (reference/pace.mjs): small ones, of which the requests quota lets too few
// pass, and large ones, of which the tokens quota does. Output caps are up to twenty times what is answered in the end.
import type { Dimension } from '../../src/domain/pool.ts'
import { Chance } from './virtualTime.ts'

export interface Quota {
  requestsPerMinute: number
  tokensPerMinute: number
}

const MIXES = {
  small: (chance: Chance) => ({
    input: clamp(chance.logNormal(250, 0.6), 50, 4_000),
    output: chance.between(20, 80),
  }),
  large: (chance: Chance) => ({
    input: clamp(chance.logNormal(6_000, 1), 200, 60_000),
    output: chance.between(100, 1_000),
  }),
}
export type Mix = keyof typeof MIXES

export interface Request {
  input: number
  maxOutput: number
  output: number
  durationMs: number
  throttles: number
}

const OUTPUT_BURNDOWN = 5
/** How often larger the output cap of a request is than its answer. */
const CAP_FACTOR = [1, 20] as const
const DURATION_MS = [1_000, 30_000] as const

export function drawRequest(mix: Mix, chance: Chance): Request {
  const { input, output } = MIXES[mix](chance)
  const factor = logUniform(chance, ...CAP_FACTOR)
  return {
    input: Math.round(input),
    output: Math.round(output),
    maxOutput: Math.round(Math.round(output) * factor),
    durationMs: logUniform(chance, ...DURATION_MS),
    throttles: 0,
  }
}

export function reservedTokens({ input, maxOutput }: Request): number {
  return input + maxOutput
}

export function chargedTokens({ input, output }: Pick<Request, 'input' | 'output'>): number {
  return input + OUTPUT_BURNDOWN * output
}

const SAMPLES = 2_000
const SAMPLE_SEED = 99
const bindings = new Map<string, Dimension>()

/** Which of the hidden quotas binds when the mix is all there is. */
export function bindingOf(mix: Mix, { requestsPerMinute, tokensPerMinute }: Quota): Dimension {
  const key = `${mix} ${requestsPerMinute} ${tokensPerMinute}`
  let binding = bindings.get(key)
  if (!binding) {
    const chance = new Chance(SAMPLE_SEED)
    let tokens = 0
    for (let i = 0; i < SAMPLES; i++) {
      tokens += chargedTokens(MIXES[mix](chance))
    }
    binding = (requestsPerMinute * tokens) / SAMPLES > tokensPerMinute ? 'tokens' : 'requests'
    bindings.set(key, binding)
  }
  return binding
}

function logUniform(chance: Chance, least: number, most: number): number {
  return least * Math.exp(Math.log(most / least) * chance.next())
}

function clamp(value: number, least: number, most: number): number {
  return Math.max(least, Math.min(most, value))
}
