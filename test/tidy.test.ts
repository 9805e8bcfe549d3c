// Style is a test, not a reviewer: doors between rooms, circles, dead files, lengths, words. Each message names the remedy.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const SRC = join(ROOT, 'src')

/** Which rooms a room may import from. The files directly in src/ compose, so they may import all. */
const DOORS: Record<string, string[]> = {
  domain: [],
  wire: ['domain'],
  transport: ['domain'],
  gateway: ['domain', 'wire'],
  identity: ['domain', 'wire'],
  http: ['gateway', 'domain', 'wire', 'transport', 'identity'],
  memory: ['gateway', 'domain'],
  redis: ['gateway', 'domain'],
  bedrock: ['gateway', 'domain', 'wire'],
  telemetry: ['gateway', 'domain'],
  simulator: ['domain', 'wire', 'transport'],
  // redis/url.ts: what `check` takes for a Redis URL is what the link connects to. identity: secrets are read as what they are.
  config: ['domain', 'redis', 'identity'],
}
/** Packages that belong to one room; domain and gateway know none at all. */
const PACKAGE_ROOMS: Record<string, string[]> = {
  fastify: ['http'],
  '@fastify/rate-limit': ['http'],
  undici: ['bedrock'],
  '@aws-sdk/client-bedrock-runtime': ['bedrock'],
  '@smithy/signature-v4': ['bedrock'],
  '@smithy/core': ['wire', 'simulator'],
  'image-size': ['wire'],
  ioredis: ['redis'],
  jose: ['identity'],
  pino: ['telemetry'],
  '@opentelemetry/api': ['telemetry'],
  '@opentelemetry/core': ['telemetry'],
  '@opentelemetry/exporter-trace-otlp-proto': ['telemetry'],
  '@opentelemetry/resources': ['telemetry'],
  '@opentelemetry/sdk-trace-base': ['telemetry'],
  'prom-client': ['telemetry'],
  yaml: ['config'],
  zod: ['config'],
}
/** The command line, the image's health check, and what runs in threads of its own. */
const ENTRY_POINTS = ['main.ts', 'healthCheck.ts', 'http/demandWorker.ts']
const MAX_FILE_LINES = 300
const MAX_FUNCTION_LINES = 60
const BANNED_NAMES = /^(utils?|helpers?|common|types|misc|service|manager)\b/i
const BANNED_WORDS: [RegExp, string][] = [
  [/\bDate\.now\(|\bnew Date\(\)|performance\.now\(/, 'time comes from the Clock that is passed in'],
  [/\bMath\.random\(|\brandomUUID\(/, 'chance is passed in'],
  [/(?<![.#\w])set(Timeout|Interval)\(/, 'timers come from Clock.after'],
  [/: any\b|\bas any\b|\bas unknown as\b|@ts-ignore|@ts-expect-error/, 'give it its type'],
  [/\b(TODO|FIXME|XXX|HACK)\b/, 'do it, or write an issue'],
  [/\bconsole\./, 'log through telemetry'],
]

interface File {
  path: string
  room: string | undefined
  text: string
  imports: string[]
  packages: string[]
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('.ts'))
  .map(readFile)

function readFile(path: string): File {
  const text = readFileSync(join(SRC, path), 'utf8')
  const specifiers = [...text.matchAll(/(?:from\s+|import\s+|import\()'([^']+)'/g)].map(match => match[1]!)
  return {
    path,
    room: path.includes('/') ? path.slice(0, path.indexOf('/')) : undefined,
    text,
    imports: specifiers.filter(one => one.startsWith('.')).map(one => normalize(join(dirname(path), one))),
    packages: specifiers.filter(one => !one.startsWith('.') && !one.startsWith('node:')),
  }
}

function none(faults: string[]): void {
  assert.deepEqual(faults, [])
}

test('every folder of src is a room with doors', () => {
  none(
    files
      .filter(file => file.room && !DOORS[file.room])
      .map(file => `${file.path}: name its room's doors in tidy.test.ts`),
  )
})

test('a room imports only through its doors', () => {
  none(
    files.flatMap(file =>
      file.imports
        .map(to => to.slice(0, Math.max(0, to.indexOf('/'))))
        .filter(room => file.room && room !== file.room && !DOORS[file.room]?.includes(room))
        .map(
          room =>
            `${file.path} imports ${room || 'the composition root'}: cut it at a port of gateway/, or move the code`,
        ),
    ),
  )
})

test('a package stays in the room it belongs to', () => {
  none(
    files.flatMap(file =>
      file.packages
        .map(name =>
          name
            .split('/')
            .slice(0, name.startsWith('@') ? 2 : 1)
            .join('/'),
        )
        .filter(name => file.room && !PACKAGE_ROOMS[name]?.includes(file.room))
        .map(name => `${file.path} imports ${name}: it belongs in ${PACKAGE_ROOMS[name] ?? 'no room yet'}`),
    ),
  )
})

test('no circles among files', () => {
  const byPath = new Map(files.map(file => [file.path, file]))
  const done = new Set<string>()
  const circles: string[] = []
  const visit = (path: string, trail: string[]): void => {
    if (trail.includes(path)) circles.push([...trail.slice(trail.indexOf(path)), path].join(' → '))
    if (done.has(path) || trail.includes(path)) return
    for (const next of byPath.get(path)?.imports ?? []) visit(next, [...trail, path])
    done.add(path)
  }
  for (const file of files) visit(file.path, [])
  none(circles.map(circle => `${circle}: move what both need into a file of its own`))
})

test('no dead files: every file is reached from an entry point', () => {
  const byPath = new Map(files.map(file => [file.path, file]))
  const reached = new Set<string>()
  const visit = (path: string): void => {
    if (reached.has(path)) return
    reached.add(path)
    for (const next of byPath.get(path)?.imports ?? []) visit(next)
  }
  for (const entry of ENTRY_POINTS) visit(entry)
  none(files.filter(file => !reached.has(file.path)).map(file => `${file.path}: nothing imports it; delete it`))
})

test('files and functions stay short enough to hold one idea', () => {
  none(
    files.flatMap(file => {
      const lines = file.text.split('\n')
      const long = lines.length > MAX_FILE_LINES ? [`${file.path} has ${lines.length} lines: find its second idea`] : []
      return long.concat(longFunctions(lines).map(where => `${file.path}:${where}: cut it into named steps`))
    }),
  )
})

/** A function is an indented block opened by a line that ends a parameter list; formatting by Biome makes that exact enough. */
function longFunctions(lines: string[]): string[] {
  const faults: string[] = []
  lines.forEach((line, start) => {
    if (!/^\s*(export )?(default )?(async )?(static )?(function|override|get |set |#?\w+\().*\{$|=> \{$/.test(line))
      return
    if (/^\s*(if|for|while|switch|class)\b/.test(line)) return
    const indent = /^\s*/.exec(line)![0]
    const end = lines.findIndex((other, i) => i > start && other.startsWith(`${indent}}`))
    if (end - start > MAX_FUNCTION_LINES) faults.push(`${start + 1} runs for ${end - start} lines`)
  })
  return faults
}

test('no file is named after nothing in particular', () => {
  none(
    files
      .filter(file => BANNED_NAMES.test(file.path.split('/').at(-1)!))
      .map(file => `${file.path}: name it after its one idea`),
  )
})

test('time, chance, silenced types and leftovers stay out of the code', () => {
  none(
    files
      .filter(file => file.path !== 'system.ts')
      .flatMap(file =>
        file.text.split('\n').flatMap((line, i) =>
          BANNED_WORDS.filter(([word]) => word.test(line))
            .filter(([, remedy]) => !(file.path === 'main.ts' && remedy.startsWith('log')))
            .map(([, remedy]) => `${file.path}:${i + 1}: ${line.trim()} — ${remedy}`),
        ),
      ),
  )
})

test('every file opens with its idea in a comment', () => {
  none(
    files
      .filter(file => !/^(#!.*\n)?(\/\/ |\/\*\* )/.test(file.text))
      .map(file => `${relative(ROOT, join(SRC, file.path))}: open it with its idea in a few lines`),
  )
})
