// A YAML file to a Config, or every fault of it at once: where, what was expected, what was found.
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml'
import type { z } from 'zod'
import { type Config, configSchema } from './schema.ts'

export interface Fault {
  /** `file:line:column`, as far as it is known. */
  place: string
  /** `models[0].pools[1].region` */
  setting: string
  message: string
}

export type LoadResult = { kind: 'ok'; config: Config } | { kind: 'faulty'; faults: Fault[] }

/** `text` is the content of `file`; `environment` may override host, port and Redis. */
export function parseConfig(
  text: string,
  file: string,
  environment: Record<string, string | undefined> = {},
): LoadResult {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false })
  const placeAt = (offset: number | undefined) => {
    if (offset === undefined) return file
    const { line, col } = lines.linePos(offset)
    return `${file}:${line}:${col}`
  }
  if (document.errors.length > 0) {
    const faults = document.errors.map(error => ({
      place: placeAt(error.pos[0]),
      setting: '',
      message: `expected YAML, found: ${withoutSecrets(error.message)}`,
    }))
    return { kind: 'faulty', faults }
  }
  let data: unknown
  try {
    data = document.toJS() ?? {}
  } catch (error) {
    // An alias without its anchor, or one that would grow without bound.
    return {
      kind: 'faulty',
      faults: [{ place: placeAt(0), setting: '', message: `expected YAML, found: ${(error as Error).message}` }],
    }
  }
  const overridden = override(data, environment)
  const parsed = configSchema.safeParse(overridden.data)
  const faults = [...overridden.faults]
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      for (const { path, isUnknown, setting, message } of describe(issue, overridden.data)) {
        const variable = VARIABLES[setting.replace(/\[\d+\]$/, '')]
        if (variable && environment[variable]) faults.push({ place: 'environment', setting: variable, message })
        else
          faults.push({
            place: placeAt(isUnknown ? keyPlace(document, path) : nearestNode(document, path)),
            setting,
            message,
          })
      }
    }
  }
  return parsed.success && faults.length === 0 ? { kind: 'ok', config: parsed.data } : { kind: 'faulty', faults }
}

export function formatFault(fault: Fault): string {
  return `${fault.place}${fault.setting === '' ? '' : ` ${fault.setting}`}: ${fault.message}`
}

/** Settings that a variable of the environment may have given. */
const VARIABLES: Record<string, string> = {
  'server.host': 'HOST',
  'server.port': 'PORT',
  'server.trustedProxies': 'TRUSTED_PROXIES',
  'redis.url': 'REDIS_URL',
}

/** HOST, PORT, TRUSTED_PROXIES (with commas between) and REDIS_URL win over the file, as containers expect. */
function override(data: unknown, environment: Record<string, string | undefined>): { data: unknown; faults: Fault[] } {
  const { HOST, PORT, TRUSTED_PROXIES, REDIS_URL } = environment
  if (!isObject(data)) return { data, faults: [] }
  const faults: Fault[] = []
  const redis = REDIS_URL ? { redis: { ...(isObject(data.redis) && data.redis), url: REDIS_URL } } : {}
  if (!HOST && !PORT && !TRUSTED_PROXIES) return { data: { ...data, ...redis }, faults }
  const server: Record<string, unknown> = isObject(data.server) ? { ...data.server } : {}
  if (HOST) server.host = HOST
  if (TRUSTED_PROXIES) server.trustedProxies = TRUSTED_PROXIES.split(',').map(word => word.trim())
  if (PORT && /^\d+$/.test(PORT)) server.port = Number(PORT)
  else if (PORT) faults.push({ place: 'environment', setting: 'PORT', message: `expected a port, found ${show(PORT)}` })
  return { data: { ...data, ...redis, server }, faults }
}

interface Described {
  path: PropertyKey[]
  isUnknown: boolean
  setting: string
  message: string
}

function describe(issue: z.core.$ZodIssue, data: unknown): Described[] {
  if (issue.code === 'unrecognized_keys') {
    const message = 'expected a setting that exists, found an unknown one'
    return issue.keys
      .map(key => [...issue.path, key])
      .map(path => ({ path, isUnknown: true, setting: settingName(path), message }))
  }
  const form = issue.code === 'invalid_union' ? formMeant(issue) : undefined
  if (form) return form.flatMap(one => describe({ ...one, path: [...issue.path, ...one.path] }, data))
  const setting = settingName(issue.path)
  const value = valueAt(data, issue.path)
  const found = SECRET_SETTINGS.test(setting) && value !== undefined ? 'a value that is not shown' : show(value)
  return [{ path: issue.path, isUnknown: false, setting, message: `expected ${expectation(issue)}, found ${found}` }]
}

/** Of a setting with several forms the faults of the only one that its value could be; undefined: it is like none or many. */
function formMeant({ errors }: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue[] | undefined {
  const isOther = (issue: z.core.$ZodIssue) =>
    issue.path.length === 0 && (issue.code === 'invalid_type' || issue.code === 'invalid_value')
  const forms = errors.filter(issues => !issues.some(isOther))
  return forms.length === 1 ? forms[0] : undefined
}

function expectation(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return ARTICLES[issue.expected] ?? issue.expected
    case 'too_small':
      return `${bound(issue.origin)} ${issue.inclusive === false ? 'above' : 'of at least'} ${issue.minimum}`
    case 'too_big':
      return `${bound(issue.origin)} of at most ${issue.maximum}`
    case 'invalid_value':
      return `${issue.values.length > 1 ? 'one of ' : ''}${issue.values.map(value => String(value)).join(', ')}`
    case 'invalid_union':
      return [...new Set(issue.errors.map(([first]) => expectation(first!)))].join(' or ')
    case 'invalid_format':
      return issue.message.startsWith('Invalid') ? `a valid ${issue.format}` : issue.message
    default:
      return issue.message
  }
}

const ARTICLES: Record<string, string> = {
  object: 'a section (key: value lines)',
  array: 'a list',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
}

function bound(origin: string): string {
  if (origin === 'string') return 'a length'
  return origin === 'array' ? 'a number of entries' : 'a value'
}

function settingName(path: PropertyKey[]): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`
    return text === '' ? String(part) : `${text}.${String(part)}`
  }, '')
}

function valueAt(data: unknown, path: PropertyKey[]): unknown {
  return path.reduce<unknown>((value, part) => (isObject(value) ? value[part as string] : undefined), data)
}

const LONGEST_SHOWN = 80
/** They may hold a password, a key or its hash; so may whatever they stand in. */
const SECRET_SETTINGS = /^$|^redis(\.url)?$|^clients(\[\d+\])?(\.(keySha256|sigv4).*)?$/

/** A URL's user and password, or a Sluice key, wherever it was put by mistake. */
function withoutSecrets(text: string): string {
  return text.replace(/:\/\/.*@/g, '://***@').replace(/sluice_[\w-]{20,}/g, 'sluice_***')
}

function show(value: unknown): string {
  if (value === undefined) return 'nothing'
  const text = withoutSecrets(textOf(value))
  return text.length <= LONGEST_SHOWN ? text : `${text.slice(0, LONGEST_SHOWN)}…`
}

/** An anchor may stand around its own alias: what it names has no end. */
function textOf(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    return 'something that holds itself'
  }
}

/** Where the fault is, or the closest thing around it that is in the file. */
function nearestNode(document: ReturnType<typeof parseDocument>, path: PropertyKey[]): number | undefined {
  for (let length = path.length; length >= 0; length--) {
    const node: unknown = length === 0 ? document.contents : document.getIn(path.slice(0, length), true)
    if (isObject(node) && Array.isArray(node.range)) return node.range[0]
  }
  return undefined
}

/** Where the last key of `path` itself stands: an unknown setting is shown by its name. */
function keyPlace(document: ReturnType<typeof parseDocument>, path: PropertyKey[]): number | undefined {
  const section: unknown = path.length === 1 ? document.contents : document.getIn(path.slice(0, -1), true)
  const key = isMap(section) && section.items.find(pair => isScalar(pair.key) && pair.key.value === path.at(-1))?.key
  return isScalar(key) ? key.range?.[0] : undefined
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
