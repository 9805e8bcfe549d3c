// Reading JSON of unknown shape: every getter answers undefined instead of throwing, whatever a caller sent.

export type Json = null | boolean | number | string | Json[] | JsonObject
export interface JsonObject {
  [key: string]: Json | undefined
}

/** Deeper JSON is taken for malformed: writing it again would overflow the stack. */
const MAX_DEPTH = 200

export function parseJson(bytes: Buffer): { value: Json } | undefined {
  try {
    const value: Json = JSON.parse(bytes.toString('utf8'))
    return isDeeper(value, MAX_DEPTH) ? undefined : { value }
  } catch {
    return undefined
  }
}

function isDeeper(value: Json | undefined, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (depth === 0) return true
  for (const inner of Array.isArray(value) ? value : Object.values(value)) if (isDeeper(inner, depth - 1)) return true
  return false
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The value at `path`, own properties only. */
export function at(value: Json | undefined, ...path: string[]): Json | undefined {
  let here = value
  for (const key of path) {
    if (!isObject(here) || !Object.hasOwn(here, key)) return undefined
    here = here[key]
  }
  return here
}

export function textAt(value: Json | undefined, ...path: string[]): string | undefined {
  const found = at(value, ...path)
  return typeof found === 'string' ? found : undefined
}

export function objectAt(value: Json | undefined, ...path: string[]): JsonObject | undefined {
  const found = at(value, ...path)
  return isObject(found) ? found : undefined
}

export function listAt(value: Json | undefined, ...path: string[]): Json[] {
  const found = at(value, ...path)
  return Array.isArray(found) ? found : []
}

/** JSON with the keys of every object in alphabetical order, as Bedrock writes its own (not its models') answers. */
export function sortedJson(value: JsonObject): string {
  return JSON.stringify(sorted(value))
}

function sorted(value: Json | undefined): Json | undefined {
  if (Array.isArray(value)) return value.map(item => sorted(item) ?? null)
  if (!isObject(value)) return value
  const out: JsonObject = {}
  for (const key of Object.keys(value).sort()) out[key] = sorted(value[key])
  return out
}
