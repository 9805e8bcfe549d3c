// `sluice` as its users start it: a process of its own, with a config file, a port, memory and an exit code.
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from './wire.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

export interface ChildSluice {
  url: string
  process: ChildProcess
  /** Resident memory, bytes. */
  residentBytes(): number
  /** The code it exited with, once it has and all it wrote has been read. */
  exited: Promise<number | null>
  /** All it has written, both streams. */
  output(): string
}

function environment(extra: Record<string, string>): NodeJS.ProcessEnv {
  const own = Object.entries(process.env).filter(
    ([name]) => !/^(AWS_|NODE_TEST|HOST$|PORT$|SLUICE_|LOG_LEVEL|OTEL_|REDIS_URL$)/.test(name),
  )
  return {
    ...Object.fromEntries(own),
    AWS_ACCESS_KEY_ID: 'AKIDSLUICE',
    AWS_SECRET_ACCESS_KEY: 'secret-of-sluice',
    AWS_EC2_METADATA_DISABLED: 'true',
    ...extra,
  }
}

/** Runs it to its end. */
export async function runSluice(
  args: string[],
  extra: Record<string, string> = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: environment(extra) })
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', chunk => {
    stdout += chunk
  })
  child.stderr.on('data', chunk => {
    stderr += chunk
  })
  const code = await new Promise<number | null>(resolve => child.on('close', resolve))
  return { code, stdout, stderr }
}

/** `yaml` becomes its config file. Resolves when it listens. */
export function startChildSluice(yaml: string, extra: Record<string, string> = {}): Promise<ChildSluice> {
  return start(['serve'], yaml, { PORT: '0', LOG_LEVEL: 'warn', ...extra }, /listens on (https?:\/\/\S+)/)
}

/** On a config file of the test's own. */
export function startChildSluiceOn(file: string, extra: Record<string, string> = {}): Promise<ChildSluice> {
  return started(['serve', '--config', file], { PORT: '0', ...extra }, /listens on (https?:\/\/\S+)/, () => {})
}

/** `sluice simulator` alone. */
export function startChildSimulator(yaml: string): Promise<ChildSluice> {
  return start(['simulator', '--port', '0'], yaml, { LOG_LEVEL: 'info' }, /"url":"([^"]+)"/)
}

async function start(
  args: string[],
  yaml: string,
  extra: Record<string, string>,
  listens: RegExp,
): Promise<ChildSluice> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-child-'))
  const file = join(folder, 'sluice.yaml')
  writeFileSync(file, yaml)
  return started([...args, '--config', file], extra, listens, () => rmSync(folder, { recursive: true, force: true }))
}

async function started(
  args: string[],
  extra: Record<string, string>,
  listens: RegExp,
  onExit: () => void,
): Promise<ChildSluice> {
  const { process: child, output, exited } = beginSluice(args, extra)
  let hasExited = false
  void exited.then(() => {
    hasExited = true
    onExit()
  })
  const listening = () => listens.exec(output())?.[1]
  await until(() => listening() !== undefined || hasExited, 'it listens', 15_000)
  const url = listening()
  if (url === undefined) throw new Error(`it exited: ${output()}`)
  return {
    url,
    process: child,
    residentBytes: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))![1]) * 1024,
    exited,
    output,
  }
}

/** One that need not listen yet. */
export function beginSluice(
  args: string[],
  extra: Record<string, string> = {},
): Pick<ChildSluice, 'process' | 'exited' | 'output'> {
  const child = spawn(process.execPath, [MAIN, ...args], { env: environment(extra) })
  let output = ''
  child.stdout.on('data', chunk => {
    output += chunk
  })
  child.stderr.on('data', chunk => {
    output += chunk
  })
  const exited = new Promise<number | null>(resolve => child.on('close', resolve))
  return { process: child, exited, output: () => output }
}
