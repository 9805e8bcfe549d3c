// A config file and the files that it names: read at the start, by `check` and at each reload, with every fault at once.
import { accessSync, constants, readFileSync } from 'node:fs'
import { formatFault, parseConfig } from './load.ts'
import type { Config } from './schema.ts'
import { readSecrets, type Secrets } from './secrets.ts'

type Variables = Record<string, string | undefined>

/** By path, the text of each file that a reload reads again; undefined: it could not be read. */
export type FilesRead = ReadonlyMap<string, string | undefined>

export type Loaded = ({ kind: 'ok'; config: Config; secrets: Secrets } | { kind: 'faulty'; faults: string[] }) & {
  files: FilesRead
}

/** What it names must be there: `check` would be worth little if the start still failed. */
export function loadConfig(file: string, variables: Variables): Loaded {
  const files = new Map<string, string | undefined>()
  const read = (path: string) => {
    files.set(path, undefined)
    const text = readFileSync(path, 'utf8')
    files.set(path, text)
    return text
  }
  const parsed = parse(file, variables, read)
  if (parsed.kind === 'faulty') return { ...parsed, files }
  const { config } = parsed
  const result = readSecrets(config, { variables, read })
  const faults = unreadable(config).concat(result.kind === 'faulty' ? result.faults : [])
  if (result.kind === 'ok' && faults.length === 0) return { kind: 'ok', config, secrets: result.secrets, files }
  return { kind: 'faulty', faults: faults.map(fault => formatFault({ place: file, ...fault })), files }
}

/** The config alone, whatever it names. */
export function parseConfigFile(file: string, variables: Variables) {
  return parse(file, variables, path => readFileSync(path, 'utf8'))
}

type Parsed = { kind: 'ok'; config: Config } | { kind: 'faulty'; faults: string[] }

function parse(file: string, variables: Variables, read: (path: string) => string): Parsed {
  let text: string
  try {
    text = read(file)
  } catch (error) {
    return {
      kind: 'faulty',
      faults: [`${file}: expected a readable file, found ${(error as NodeJS.ErrnoException).code}`],
    }
  }
  const result = parseConfig(text, file, variables)
  return result.kind === 'ok' ? result : { kind: 'faulty', faults: result.faults.map(formatFault) }
}

/** Files that are read once, at the start. */
function unreadable({ server, redis }: Config): { setting: string; message: string }[] {
  const files = Object.entries(server.tls ?? {}).map(([name, path]): [string, string] => [`server.tls.${name}`, path])
  if (redis?.caFile) files.push(['redis.caFile', redis.caFile])
  return files
    .filter(([, path]) => !isReadable(path))
    .map(([setting, path]) => ({ setting, message: `expected a readable file, found ${JSON.stringify(path)}` }))
}

function isReadable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK)
    return true
  } catch {
    return false
  }
}
