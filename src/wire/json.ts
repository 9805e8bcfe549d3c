// A request body as a JSON object, or what is wrong with it in words that repeat none of it.
import { hasMoreValues } from './jsonBytes.ts'

/** A body of millions of tiny values is legal, and would hold everyone else up for seconds while it is parsed. */
const MAX_VALUES = 250_000
/** A smaller body cannot hold so many that it matters. */
const LARGE_BODY_BYTES = 256 * 1024

export type JsonObject = Record<string, unknown>

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What kind of value was found, never the value: messages travel to logs. */
export function kindOf(value: unknown): string {
  if (value === null) return 'null'
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'object') return 'an object'
  if (typeof value === 'boolean') return 'a boolean'
  if (typeof value === 'string') return value === '' ? 'an empty string' : 'a string'
  return `a ${typeof value}`
}

/** More values than may be parsed at once. */
export function holdsTooMany(json: Buffer): boolean {
  return json.length > LARGE_BODY_BYTES && hasMoreValues(json, MAX_VALUES)
}

/**
 * The object, or what was found instead. Text is read as Latin-1: JSON's structure is ASCII, so keys, numbers and base64
 * come out right, a string's length is its size in bytes, and a prompt in any script costs one byte a character.
 */
export function parseObject(body: Buffer): JsonObject | string {
  if (body.length === 0) return 'an empty body'
  if (holdsTooMany(body)) return `more than ${MAX_VALUES} values`
  try {
    const value: unknown = JSON.parse(body.toString('latin1'))
    return isJsonObject(value) ? value : kindOf(value)
  } catch {
    return 'text that is not valid JSON'
  }
}
