// How long a prompt is. One walk serves every provider: tools, then system, then messages, the order in which prompts are
// cached. Text counts by its bytes; media by their decoded size, never as text; marks for the prompt cache are noted in passing.
import { createHash, type Hash } from 'node:crypto'
import { at, isObject, type Json, type JsonObject } from './json.ts'

export interface Prompt {
  /** The whole prompt, cached or not; at least 1. */
  inputTokens: number
  /** Prefixes to be cached, shortest first. */
  cacheMarks: { key: string; tokens: number }[]
}

const TEXT_BYTES_PER_TOKEN = 4
/** Bedrock allows four cache points in a request. */
const MAX_CACHE_MARKS = 4

/** Where the providers put what the model reads, in the order of the cached prefix. */
const SCHEMAS = [['toolConfig', 'tools'], ['tools']]
const CONTENTS = ['system', 'instructions', 'preamble', 'chat_history', 'documents', 'messages', 'message', 'prompt']
const INPUTS = ['input', 'inputText', 'inputImage', 'texts', 'images', 'modelInput']
/** Labels, not prompt. */
const LABELS = new Set([
  'type',
  'role',
  'format',
  'media_type',
  'id',
  'toolUseId',
  'tool_use_id',
  'tool_call_id',
  'signature',
])
/** Below these everything is the app's own JSON, its keys too, whatever they are called. */
const FREE_JSON = new Set(['input', 'json', 'inputSchema', 'input_schema', 'parameters'])

export function readPrompt(body: JsonObject): Prompt {
  const reader = new PromptReader()
  for (const path of SCHEMAS) reader.walk(at(body, ...path), 'tools', false)
  for (const key of CONTENTS) reader.walk(at(body, key), key, false)
  for (const key of INPUTS) reader.walk(at(body, key), key === 'inputImage' ? 'bytes' : `top ${key}`, false)
  return reader.prompt()
}

/** A flat, plausible price: nobody outside knows the real one before the answer. */
export function imageTokens(decodedBytes: number): number {
  return Math.min(1600, Math.max(100, Math.ceil(decodedBytes / 500)))
}

class PromptReader {
  #textBytes = 0
  #mediaTokens = 0
  readonly #marks: Prompt['cacheMarks'] = []
  readonly #hash: Hash = createHash('sha256')

  prompt(): Prompt {
    return { inputTokens: Math.max(1, this.#tokens()), cacheMarks: this.#marks }
  }

  /** `free`: below the app's own JSON. */
  walk(value: Json | undefined, key: string, free: boolean): void {
    if (value === undefined || value === null) return
    this.#hash.update(`\0${key}\0`)
    if (typeof value === 'string') this.#text(value, key, free)
    else if (Array.isArray(value)) for (const item of value) this.walk(item, key, free)
    else if (isObject(value)) this.#object(value, free)
    else if (free) this.#text(String(value), key, free)
  }

  #object(value: JsonObject, free: boolean): void {
    const plainData = at(value, 'type') === 'text'
    for (const [key, inner] of Object.entries(value)) {
      if (free) this.#textBytes += Buffer.byteLength(key)
      if (!free && (key === 'cachePoint' || key === 'cache_control')) continue
      const name = key === 'data' && plainData ? 'text' : key
      this.walk(inner, name, free || FREE_JSON.has(key))
    }
    if (!free && (isObject(value.cachePoint) || isObject(value.cache_control))) this.#mark()
  }

  #text(text: string, key: string, free: boolean): void {
    this.#hash.update(text)
    if (free) this.#textBytes += Buffer.byteLength(text)
    else if (key === 'bytes' || key === 'data' || key === 'top images') this.#media(text.length)
    else if ((key === 'url' || key === 'image_url') && text.startsWith('data:')) this.#media(text.length)
    else if (!LABELS.has(key)) this.#textBytes += Buffer.byteLength(text)
  }

  #media(base64Chars: number): void {
    this.#mediaTokens += imageTokens((base64Chars * 3) / 4)
  }

  #mark(): void {
    if (this.#marks.length >= MAX_CACHE_MARKS) return
    this.#marks.push({ key: this.#hash.copy().digest('base64'), tokens: this.#tokens() })
  }

  #tokens(): number {
    return Math.ceil(this.#textBytes / TEXT_BYTES_PER_TOKEN) + this.#mediaTokens
  }
}
