// What is measured side by side: each a process of its own, pinned to one core where the system allows it, started and
// ended by this program.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startRedis, type TestRedis } from '../test/support/redisServer.ts'

export interface Target {
  name: string
  /** Ports of HTTP/1.1 and prior-knowledge HTTP/2; most serve both on one. */
  http1: number
  h2c: number
  /** CPU seconds used so far by the target and its children; NaN where the system does not tell. */
  cpuSeconds(): number
  stop(): Promise<void>
}

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const PROXY_CORE = '0'
const LOAD_CORE = '1'
const START_TIMEOUT_MS = 20_000

const hasTaskset = spawnSync('taskset', ['--version']).status === 0
const nginxVersion = /nginx\/([\d.]+)/.exec(String(spawnSync('nginx', ['-v']).stderr ?? ''))?.[1]

export const pinned = hasTaskset
export const nginx = nginxVersion

function start(core: string, command: string, args: string[], environment: Record<string, string> = {}): ChildProcess {
  const [file, all] = hasTaskset ? ['taskset', ['-c', core, command, ...args]] : [command, args]
  return spawn(file, all, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...environment } })
}

/** The first line of JSON on standard output that has what is looked for. */
function firstLine<T>(child: ChildProcess, pick: (line: Record<string, unknown>) => T | undefined): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error('did not start in time')), START_TIMEOUT_MS)
    let text = ''
    child.stdout!.on('data', data => {
      text += data
      for (const line of text.split('\n')) {
        if (!line.startsWith('{') || !line.endsWith('}')) continue
        const found = pick(JSON.parse(line))
        if (found === undefined) continue
        clearTimeout(timer)
        resolve(found)
      }
    })
    child.on('exit', code => reject(new Error(`ended with ${code} before it was ready`)))
  })
}

function running(name: string, child: ChildProcess, ports: { http1: number; h2c: number }, cleanUp = () => {}): Target {
  return {
    name,
    ...ports,
    cpuSeconds: () => cpuSeconds(child.pid!),
    stop: () =>
      new Promise(resolve => {
        child.on('exit', () => {
          cleanUp()
          resolve()
        })
        child.kill('SIGTERM')
      }),
  }
}

/** utime + stime of a process and of its direct children (NGINX's worker), from /proc; 100 ticks a second. */
function cpuSeconds(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean)
    return [String(pid), ...children].reduce((sum, one) => {
      const fields = readFileSync(`/proc/${one}/stat`, 'utf8').split(') ')[1]!.split(' ')
      return sum + (Number(fields[11]) + Number(fields[12])) / 100
    }, 0)
  } catch {
    return Number.NaN
  }
}

export async function startUpstream(): Promise<Target> {
  const child = start(LOAD_CORE, process.execPath, [here('upstream.ts')])
  const ports = await firstLine(child, line => line as { http1: number; h2c: number })
  return running('direct', child, ports)
}

export async function startSdkForwarder(upstreamPort: number): Promise<Target> {
  const child = start(PROXY_CORE, process.execPath, [here('sdkForwarder.ts'), `http://127.0.0.1:${upstreamPort}`])
  const port = await firstLine(child, line => line.port as number)
  return running('AWS SDK forwarder', child, { http1: port, h2c: port })
}

/** A Redis of its own, beside the load: what it costs is not Sluice's CPU, but its latency. */
export async function startLedgerRedis(): Promise<TestRedis> {
  const redis = await startRedis()
  if (hasTaskset) spawnSync('taskset', ['-acp', LOAD_CORE, String(redis.pid)])
  return redis
}

/** With a `redisUrl` its ledger is shared through Redis, else in memory. */
export async function startSluice(upstreamPort: number, redisUrl?: string): Promise<Target> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const port = await freePort()
  // Quotas far above what a loopback can send: every call goes through the ledger, none has to wait.
  writeFileSync(
    join(folder, 'config.yaml'),
    `server: { port: ${port} }
${redisUrl ? `redis: { url: "${redisUrl}" }` : ''}
models:
  - name: bench
    modelIds: ["*"]
    outputBurndown: 5
    pools:
      - name: upstream
        region: us-east-1
        endpoint: http://127.0.0.1:${upstreamPort}
        requestsPerMinute: 100000000
        tokensPerMinute: 100000000000
`,
  )
  const environment = { AWS_ACCESS_KEY_ID: 'AKIDBENCH', AWS_SECRET_ACCESS_KEY: 'bench', LOG_LEVEL: 'warn' }
  const child = start(
    PROXY_CORE,
    process.execPath,
    [here('../src/main.ts'), 'serve', '--config', join(folder, 'config.yaml')],
    environment,
  )
  await listening(port)
  return running(redisUrl ? 'Sluice on Redis' : 'Sluice', child, { http1: port, h2c: port }, () =>
    rmSync(folder, { recursive: true }),
  )
}

/** One worker, access log off, keep-alive to the upstream: NGINX at its plain best. Undefined where it is not installed. */
export async function startNginx(upstream: Target): Promise<Target | undefined> {
  if (!nginxVersion) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-nginx-'))
  const http1 = await freePort()
  const h2c = await freePort()
  const proxy = 'proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;'
  writeFileSync(
    join(folder, 'nginx.conf'),
    `worker_processes 1; daemon off; master_process on; pid ${folder}/pid; error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/f;
  uwsgi_temp_path ${folder}/u; scgi_temp_path ${folder}/s;
  upstream up { server 127.0.0.1:${upstream.http1}; keepalive 256; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:${http1}; location / { ${proxy} } }
  server { listen 127.0.0.1:${h2c} http2; location / { ${proxy} } }
}
`,
  )
  const child = start(PROXY_CORE, 'nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')])
  await listening(h2c)
  return running('NGINX', child, { http1, h2c }, () => rmSync(folder, { recursive: true }))
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer()
    server.on('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })
}

async function listening(port: number): Promise<void> {
  const endMs = performance.now() + START_TIMEOUT_MS
  while (performance.now() < endMs) {
    const connected = await new Promise<boolean>(resolve => {
      const socket = net.connect(port, '127.0.0.1', () => {
        socket.destroy()
        resolve(true)
      })
      socket.on('error', () => resolve(false))
    })
    if (connected) return
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  throw new Error(`nothing listens on port ${port}`)
}
