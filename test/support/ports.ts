// Ports that stay one test file's own while a server on them is down. Below the range the kernel gives to outgoing
// connections, and held by a lock file, since other test files run at the same time.
import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A Redis Cluster's bus listens 10000 above its port: still below 32768. */
const FIRST = 15_000
const COUNT = 7_000

const lockOf = (port: number) => join(tmpdir(), `sluice-test-port-${port}.lock`)

/** Free now, and ours until `releasePort`. */
export async function reservePort(): Promise<number> {
  const start = Number(process.hrtime.bigint() % BigInt(COUNT))
  for (let i = 0; i < COUNT; i++) {
    const port = FIRST + ((start + i * 37) % COUNT)
    if (!lock(port)) continue
    if ((await isFree(port)) && (await isFree(port + 10_000))) return port
    releasePort(port)
  }
  throw new Error('no free port for a Redis')
}

export function releasePort(port: number): void {
  rmSync(lockOf(port), { force: true })
}

function lock(port: number): boolean {
  try {
    const file = openSync(lockOf(port), 'wx')
    writeSync(file, String(process.pid))
    closeSync(file)
    return true
  } catch {
    if (isHeld(port)) return false
    releasePort(port)
    return false
  }
}

/** Its process may have been killed before it could let go. */
function isHeld(port: number): boolean {
  try {
    const pid = Number(readFileSync(lockOf(port), 'utf8'))
    // Not yet written: another process is just taking it.
    if (pid === 0) return true
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const server = net.createServer()
    server.on('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}
