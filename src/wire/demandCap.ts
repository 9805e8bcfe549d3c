// How many tokens a request lets the model answer, from whichever field its provider reads.
import { isJsonObject, type JsonObject, kindOf } from './json.ts'
import type { OperationName } from './operations.ts'

export interface OutputCap {
  /** Tokens of all answers together; undefined: the request sets no cap and the model's own maximum holds. */
  tokens?: number
  /** Answers asked for; `tokens` counts them already. */
  answers: number
}

/** A field's path and its value, where a whole number was expected and something else found. */
export type CapFault = { field: string; found: string }

export type Path = readonly string[]

const PLAIN = ['max_tokens', 'max_completion_tokens', 'max_output_tokens', 'max_new_tokens', 'maxTokens'].map(p => [p])
const NOVA = ['maxTokens', 'max_new_tokens', 'maxNewTokens'].map(name => ['inferenceConfig', name])
/** Anthropic before Messages, Llama, Titan. */
const ELDERS = [['max_tokens_to_sample'], ['max_gen_len'], ['textGenerationConfig', 'maxTokenCount']]
/** OpenAI and others, AI21 Jurassic, Cohere Command. */
const ANSWERS = [['n'], ['numResults'], ['num_generations']]

/** The model's own fields beside Converse's one, and stronger: they reach the model last. */
const ADDITIONAL = [...PLAIN, ...NOVA, ...ELDERS].map(path => ['additionalModelRequestFields', ...path])

/** Groups of fields in falling strength; in a group the largest holds, for it cannot be told which the model reads. */
export const CAPS: Partial<Record<OperationName, Path[][]>> = {
  InvokeModel: [[...PLAIN, ...NOVA, ...ELDERS]],
  InvokeModelWithResponseStream: [[...PLAIN, ...NOVA, ...ELDERS]],
  Converse: [ADDITIONAL, [['inferenceConfig', 'maxTokens']]],
  ConverseStream: [ADDITIONAL, [['inferenceConfig', 'maxTokens']]],
  ChatCompletions: [[['max_completion_tokens'], ['max_tokens']]],
  Responses: [[['max_output_tokens']]],
  Messages: [[['max_tokens']]],
}

const MULTIPLE: Partial<Record<OperationName, Path[]>> = {
  InvokeModel: ANSWERS,
  InvokeModelWithResponseStream: ANSWERS,
  ChatCompletions: [['n']],
}

/** The most answers any provider gives (OpenAI's bound); it refuses a request for more, which then costs nothing. */
const MAX_ANSWERS = 128

export function readOutputCap(operation: OperationName, body: JsonObject): OutputCap | CapFault {
  const answers = largest(body, MULTIPLE[operation] ?? [])
  if (typeof answers === 'object') return answers
  const count = Math.min(Math.max(answers ?? 1, 1), MAX_ANSWERS)
  let tokens: number | undefined
  for (const group of CAPS[operation] ?? []) {
    const cap = largest(body, group)
    if (typeof cap === 'object') return cap
    tokens ??= cap
  }
  if (tokens === undefined) return { answers: count }
  return { tokens: Math.min(tokens * count, Number.MAX_SAFE_INTEGER), answers: count }
}

/** null is absent: the OpenAI SDKs write it for what the caller left out. 0 is Bedrock's to judge: some APIs warm caches with it. */
function largest(body: JsonObject, paths: Path[]): number | undefined | CapFault {
  let most: number | undefined
  for (const path of paths) {
    const value = at(body, path)
    if (value === undefined || value === null) continue
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0)
      return { field: path.join('.'), found: typeof value === 'number' ? kindOfNumber(value) : kindOf(value) }
    most = Math.max(most ?? 0, value)
  }
  return most
}

function at(body: JsonObject, path: Path): unknown {
  let value: unknown = body
  for (const key of path) {
    if (!isJsonObject(value)) return undefined
    value = value[key]
  }
  return value
}

function kindOfNumber(value: number): string {
  if (value < 0) return 'a negative number'
  return Number.isInteger(value) || value === Infinity ? 'a number too large' : 'a fraction'
}
