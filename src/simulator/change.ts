// Reading a live change of the settings: every fault of it in one report, and nothing applied unless all of it is sound.
import { isObject, type Json, type JsonObject } from './json.ts'
import type { Faults, Latency, SimulatedQuota, SimulatorChange, WindowKind } from './settings.ts'

export interface ChangeFault {
  place: string
  expected: string
  found: string
}

const MAX_MS = 24 * 3_600_000
const MAX_TOKENS = 1_000_000
const MAX_UNITS_PER_MINUTE = 1e12
const MAX_QUOTAS = 1000
const MAX_FOUND_CHARACTERS = 80
const WINDOWS: readonly WindowKind[] = ['token-bucket', 'fixed', 'sliding']

export function readChange(json: Json): { change: SimulatorChange } | { faults: ChangeFault[] } {
  const reader = new Reader()
  const change = reader.object<SimulatorChange>('', json, {
    window: (place, value) => reader.window(place, value),
    quotas: (place, value) => reader.list(place, value, MAX_QUOTAS, (at, item) => reader.quota(at, item)),
    latency: (place, value) =>
      reader.object<Partial<Latency>>(place, value, {
        firstTokenMs: (at, ms) => reader.number(at, ms, 0, MAX_MS),
        perTokenMs: (at, ms) => reader.number(at, ms, 0, MAX_MS),
        jitter: (at, part) => reader.number(at, part, 0, 1),
      }),
    faults: (place, value) =>
      reader.object<Partial<Faults>>(place, value, {
        errorRate: (at, rate) => reader.number(at, rate, 0, 1),
        slowRate: (at, rate) => reader.number(at, rate, 0, 1),
        slowMs: (at, ms) => reader.number(at, ms, 0, MAX_MS),
        cutRate: (at, rate) => reader.number(at, rate, 0, 1),
        streamExceptionRate: (at, rate) => reader.number(at, rate, 0, 1),
        outage: (at, on) => reader.boolean(at, on),
      }),
    answerTokens: (place, value) => reader.number(place, value, 1, MAX_TOKENS),
  })
  return reader.faults.length > 0 ? { faults: reader.faults } : { change }
}

type Fields<T> = { [Key in keyof T]-?: (place: string, value: Json) => T[Key] | undefined }

class Reader {
  readonly faults: ChangeFault[] = []

  /** The known fields of `value` that are sound; an unknown one is a fault. */
  object<T extends object>(place: string, value: Json, fields: Fields<T>): Partial<T> {
    const out: Partial<T> = {}
    if (!isObject(value)) {
      this.#fault(place, 'an object', value)
      return out
    }
    const known = Object.keys(fields) as (keyof T & string)[]
    for (const key of Object.keys(value))
      if (!known.some(name => name === key)) this.#fault(inside(place, key), `one of ${known.join(', ')}`, key)
    for (const key of known) {
      const found = Object.hasOwn(value, key) ? value[key] : undefined
      const read = found === undefined ? undefined : fields[key](inside(place, key), found)
      if (read !== undefined) out[key] = read
    }
    return out
  }

  quota(place: string, value: Json): SimulatedQuota | undefined {
    const perMinute = (at: string, units: Json) => this.number(at, units, 0, MAX_UNITS_PER_MINUTE)
    const read = this.object<SimulatedQuota>(place, value, {
      modelIds: (at, globs) => this.list(at, globs, MAX_QUOTAS, (where, glob) => this.text(where, glob)),
      region: (at, region) => this.text(at, region),
      requestsPerMinute: perMinute,
      tokensPerMinute: perMinute,
      outputBurndown: (at, rate) => this.number(at, rate, 0, 1000),
      maxOutputTokens: (at, tokens) => this.number(at, tokens, 1, MAX_TOKENS),
    })
    const { modelIds, outputBurndown, maxOutputTokens } = read
    if (isObject(value)) this.#required(place, value, ['modelIds', 'outputBurndown', 'maxOutputTokens'])
    if (!modelIds || outputBurndown === undefined || maxOutputTokens === undefined) return undefined
    return { ...read, modelIds, outputBurndown, maxOutputTokens }
  }

  list<T>(
    place: string,
    value: Json,
    most: number,
    item: (place: string, value: Json) => T | undefined,
  ): T[] | undefined {
    if (!Array.isArray(value) || value.length > most) return this.#fault(place, `a list of at most ${most}`, value)
    return value.flatMap((entry, i) => item(`${place}[${i}]`, entry) ?? [])
  }

  number(place: string, value: Json, least: number, most: number): number | undefined {
    if (typeof value === 'number' && value >= least && value <= most) return value
    return this.#fault(place, `a number from ${least} to ${most}`, value)
  }

  text(place: string, value: Json): string | undefined {
    return typeof value === 'string' && value !== '' ? value : this.#fault(place, 'a text', value)
  }

  boolean(place: string, value: Json): boolean | undefined {
    return typeof value === 'boolean' ? value : this.#fault(place, 'true or false', value)
  }

  window(place: string, value: Json): WindowKind | undefined {
    return WINDOWS.find(kind => kind === value) ?? this.#fault(place, `one of ${WINDOWS.join(', ')}`, value)
  }

  #required(place: string, value: JsonObject, keys: string[]): void {
    for (const key of keys) if (!Object.hasOwn(value, key)) this.#fault(inside(place, key), 'to be set', 'nothing')
  }

  #fault(place: string, expected: string, value: Json): undefined {
    const found = typeof value === 'string' ? value : JSON.stringify(value)
    this.faults.push({
      place: place === '' ? 'the body' : place,
      expected,
      found: found.slice(0, MAX_FOUND_CHARACTERS),
    })
    return undefined
  }
}

function inside(place: string, key: string): string {
  return place === '' ? key : `${place}.${key}`
}
