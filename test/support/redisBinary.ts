// Finds something that runs a Redis: redis-server or valkey-server on the PATH, else (as root on Debian) redis-server from
// apt, else Docker. Tests that need Redis fail without one and say what to install; they never skip.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

/** How to start a server; its own arguments come after these. */
export interface RedisBinary {
  command: string
  args: string[]
  /** In a container signals must go through Docker; the name is the container's. */
  container?: string
}

const OLDEST = { 'redis-server': 7, 'valkey-server': 8 }
const IMAGE = 'redis:8-alpine'
const INSTALL_LOCK = join(tmpdir(), 'sluice-redis-install.lock')
const INSTALL_MS = 180_000

export async function findRedis(): Promise<RedisBinary> {
  for (const command of ['redis-server', 'valkey-server'] as const) {
    if (isThere(command)) return { command, args: [] }
  }
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')) {
    await install()
    if (isThere('redis-server')) return { command: 'redis-server', args: [] }
  }
  if (spawnSync('docker', ['info'], { timeout: 10_000 }).status === 0) return inDocker()
  throw new Error(
    'these tests need a Redis: install redis-server 7 or later (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis) or valkey-server 8, or start Docker',
  )
}

/** Undefined when it is not on the PATH. */
export function findValkey(): RedisBinary | undefined {
  return isThere('valkey-server') ? { command: 'valkey-server', args: [] } : undefined
}

function isThere(command: keyof typeof OLDEST): boolean {
  const { status, stdout } = spawnSync(command, ['--version'], { encoding: 'utf8', timeout: 10_000 })
  return status === 0 && Number(/v=(\d+)/.exec(stdout)?.[1]) >= OLDEST[command]
}

/** Test files run side by side: one installs, the others wait for it. */
async function install(): Promise<void> {
  if (!takeLock()) {
    while (!isStale()) await pause(200)
    // Done by another, unless that one died on the way.
    if (!existsSync(INSTALL_LOCK)) return
    rmSync(INSTALL_LOCK, { recursive: true, force: true })
    return install()
  }
  try {
    const script = 'apt-get update -qq && apt-get install -y -qq --no-install-recommends redis-server'
    const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
    const child = spawn('timeout', [String(INSTALL_MS / 1000), 'sh', '-c', script], { env, stdio: 'ignore' })
    await new Promise(resolve => child.on('close', resolve).on('error', resolve))
  } finally {
    rmSync(INSTALL_LOCK, { recursive: true, force: true })
  }
}

function takeLock(): boolean {
  try {
    mkdirSync(INSTALL_LOCK)
    return true
  } catch {
    return false
  }
}

function isStale(): boolean {
  const taken = statSync(INSTALL_LOCK, { throwIfNoEntry: false })
  return !taken || Date.now() - taken.mtimeMs > INSTALL_MS
}

/** The host's network, so that ports and cluster addresses are the same inside and out. */
function inDocker(): RedisBinary {
  const container = `sluice-redis-${process.pid}-${process.hrtime.bigint()}`
  const args = ['run', '--rm', '--name', container, '--network', 'host', IMAGE, 'redis-server']
  return { command: 'docker', args, container }
}
