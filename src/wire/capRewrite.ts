// An output cap put into a request's body, or made smaller there. Only the cap's own bytes change: the client's JSON is not
// written anew, so that nothing else about it, be it the spelling of a number, can come to mean something else.
import { CAPS, type Path } from './demandCap.ts'
import { afterBlanks, type Member, type Members, membersOf, type Place } from './jsonBytes.ts'
import type { OperationName } from './operations.ts'

export interface CapRewrite {
  body: Buffer
  /** The cap of each answer as it stands in the body now. */
  tokens: number
}

export interface CapBounds {
  /** What an answer may have beside what the request sets apart for thinking: Bedrock refuses a cap below that. */
  tokens: number
  /** The most that the model answers, thinking included. */
  most: number
}

/** Of InvokeModel: a part of the model's id, a field its requests have, and where its cap belongs. The first that fits. */
const PROVIDERS: [string, string, Path][] = [
  ['anthropic.', 'messages', ['max_tokens']],
  ['anthropic.', 'prompt', ['max_tokens_to_sample']],
  ['amazon.nova', 'messages', ['inferenceConfig', 'maxTokens']],
  ['amazon.titan-t', 'inputText', ['textGenerationConfig', 'maxTokenCount']],
  ['meta.llama', 'prompt', ['max_gen_len']],
  ['mistral.', 'prompt', ['max_tokens']],
  ['mistral.', 'messages', ['max_tokens']],
  ['cohere.command', 'message', ['max_tokens']],
  ['cohere.command', 'prompt', ['max_tokens']],
  ['ai21.jamba', 'messages', ['max_tokens']],
  ['ai21.j2', 'prompt', ['maxTokens']],
  ['deepseek.', 'prompt', ['max_tokens']],
  ['deepseek.', 'messages', ['max_tokens']],
  ['openai.', 'messages', ['max_completion_tokens']],
  // The id of an application profile names no provider.
  ['arn:', 'anthropic_version', ['max_tokens']],
]

const ADDITIONAL = 'additionalModelRequestFields'
const anywhere = (paths: Path[]): Path[] => paths.flatMap(path => [path, [ADDITIONAL, ...path]])

const THINKING = anywhere([
  ['thinking', 'budget_tokens'],
  ['reasoning_config', 'budget_tokens'],
])
/** Nova refuses a cap beside the effort `high`. */
const EFFORT = anywhere([
  ['reasoningConfig', 'maxReasoningEffort'],
  ['inferenceConfig', 'reasoningConfig', 'maxReasoningEffort'],
])

/** All that is looked for, and how deep it may lie: one pass over a body finds it. */
const PATHS: Path[] = [
  ...Object.values(CAPS).flat(2),
  ...PROVIDERS.flatMap(([, field, path]) => [[field], path]),
  ...THINKING,
  ...EFFORT,
]
const KEYS = new Set(PATHS.flat())
const DEPTH = Math.max(...PATHS.map(path => path.length))

/**
 * The body with no answer longer than the bounds: a cap above them is made smaller, where none is set one is put in. A cap
 * is never made larger. Undefined: it is small enough, or where a cap would belong cannot be told, and the body is to be
 * sent as it is. `body` is one that `readDemand` has read.
 */
export function capOutput(
  operation: OperationName,
  modelId: string,
  body: Buffer,
  bounds: CapBounds,
): CapRewrite | undefined {
  const json = placesOf(body)
  const thinking = Math.max(0, ...THINKING.map(path => Math.ceil(json.number(path) ?? 0)))
  const tokens = Math.min(bounds.tokens + thinking, bounds.most)
  if (!(tokens > thinking)) return undefined
  for (const group of CAPS[operation] ?? []) {
    const caps = group.filter(path => json.number(path) !== undefined)
    if (caps.length === 0) continue
    const larger = caps.filter(path => json.number(path)! > tokens).map(path => json.find(path)!)
    return larger.length === 0 ? undefined : { body: replaced(body, larger, String(tokens)), tokens }
  }
  const path = capPath(operation, modelId, json)
  const rewritten = path && inserted(json, path, tokens)
  return rewritten && { body: rewritten, tokens }
}

/** Where the cap of a request that sets none belongs. */
function capPath(operation: OperationName, modelId: string, json: JsonPlaces): Path | undefined {
  if (EFFORT.some(path => json.is(path, '"high"'))) return undefined
  switch (operation) {
    case 'Converse':
    case 'ConverseStream':
      // A prompt of Prompt management brings its own; Bedrock refuses another beside it.
      return modelId.includes(':prompt/') ? undefined : ['inferenceConfig', 'maxTokens']
    case 'InvokeModel':
    case 'InvokeModelWithResponseStream':
      return PROVIDERS.find(([part, field]) => modelId.includes(part) && json.find([field]))?.[2]
    case 'ChatCompletions':
      return ['max_completion_tokens']
    case 'Responses':
      return ['max_output_tokens']
    case 'Messages':
      return ['max_tokens']
    default:
      return undefined
  }
}

/** With the objects on the way to it, where they are absent or null; undefined when something else stands there. */
function inserted(json: JsonPlaces, path: Path, tokens: number): Buffer | undefined {
  const { body } = json
  let parent: Place = json.root
  for (const [depth, key] of path.entries()) {
    const place = json.find(path.slice(0, depth + 1))
    const rest = path.slice(depth + 1)
    const value = rest.reduceRight((inner, name) => `{${JSON.stringify(name)}:${inner}}`, String(tokens))
    if (!place) {
      const first = parent.start + 1
      const isEmpty = body[afterBlanks(body, first)] === CLOSING_BRACE
      return replaced(body, [{ start: first, end: first }], `${JSON.stringify(key)}:${value}${isEmpty ? '' : ','}`)
    }
    if (body[place.start] === LETTER_N) return replaced(body, [place], value)
    if (body[place.start] !== OPENING_BRACE) return undefined
    parent = place
  }
  return undefined
}

const OPENING_BRACE = 0x7b
const CLOSING_BRACE = 0x7d
/** Only null begins with it. */
const LETTER_N = 0x6e

function replaced(body: Buffer, places: Place[], text: string): Buffer {
  const pieces: Buffer[] = []
  let from = 0
  for (const { start, end } of places.toSorted((a, b) => a.start - b.start)) {
    pieces.push(body.subarray(from, start), Buffer.from(text))
    from = end
  }
  return Buffer.concat([...pieces, body.subarray(from)])
}

/** A request's price and its cap are asked for one after the other, of the same body. */
const known = new WeakMap<Buffer, JsonPlaces>()

function placesOf(body: Buffer): JsonPlaces {
  const places = known.get(body) ?? new JsonPlaces(body)
  known.set(body, places)
  return places
}

/** No number that means something is spelt longer; to read one of megabytes takes a second. */
const MAX_NUMBER_BYTES = 1024

/** Where the values of one body stand, by path. */
class JsonPlaces {
  readonly body: Buffer
  readonly root: Place
  readonly #members: Members

  constructor(body: Buffer) {
    this.body = body
    this.root = { start: afterBlanks(body, 0), end: body.length }
    this.#members = membersOf(body, KEYS, DEPTH)
  }

  find(path: Path): Place | undefined {
    let members: Members | undefined = this.#members
    let place: Member | undefined
    for (const key of path) {
      place = members?.get(key)
      members = place?.members
    }
    return place
  }

  /** Whether it is spelt so: a text with its quotes. */
  is(path: Path, text: string): boolean {
    const place = this.find(path)
    return !!place && place.end - place.start === text.length && this.#text(place) === text
  }

  /** NaN: it is spelt too long to be read; it is neither absent nor larger than anything. */
  number(path: Path): number | undefined {
    const place = this.find(path)
    if (!place || !NUMBER_STARTS.includes(this.body[place.start]!)) return undefined
    return place.end - place.start > MAX_NUMBER_BYTES ? Number.NaN : Number(this.#text(place))
  }

  #text({ start, end }: Place): string {
    return this.body.toString('latin1', start, end)
  }
}

const NUMBER_STARTS = Buffer.from('-0123456789')
