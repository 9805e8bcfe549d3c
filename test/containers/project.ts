// docker-compose.yml as a project of its own, beside any other: started, asked, and taken away whole. Drives the `docker` command,
// so it is the same with any Docker that has `docker compose`.
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { releasePort, reservePort } from '../support/ports.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const LONGEST_COMMAND_MS = 120_000

export interface Ran {
  code: number
  /** Both streams. */
  output: string
}

export class Project {
  readonly url: string
  readonly prometheusUrl: string
  readonly #name = `sluice-test-${process.pid}`
  readonly #ports: number[]
  readonly #folder = readableFolder()
  #files = [join(ROOT, 'docker-compose.yml')]

  private constructor(ports: number[]) {
    this.#ports = ports
    this.url = `http://127.0.0.1:${ports[0]}`
    this.prometheusUrl = `http://127.0.0.1:${ports[1]}`
  }

  static async open(): Promise<Project> {
    return new Project([await reservePort(), await reservePort()])
  }

  /** Standard output; a command that fails fails the test, with all it said. */
  async compose(...args: string[]): Promise<string> {
    const files = this.#files.flatMap(file => ['-f', file])
    return this.#must(['compose', '--project-directory', ROOT, '-p', this.#name, ...files, ...args])
  }

  docker(...args: string[]): Promise<string> {
    return this.#must(args)
  }

  /** For a command that is allowed to fail. */
  try(...args: string[]): Promise<Ran> {
    return run(args, this.#environment()).then(({ code, stdout, stderr }) => ({ code, output: stdout + stderr }))
  }

  /** Running containers of a service. */
  async containers(service: string): Promise<string[]> {
    const filters = [`com.docker.compose.project=${this.#name}`, `com.docker.compose.service=${service}`]
    const found = await this.docker('ps', '-q', ...filters.flatMap(label => ['--filter', `label=${label}`]))
    return found.split('\n').filter(Boolean)
  }

  async container(service: string): Promise<string> {
    const [one, ...more] = await this.containers(service)
    assert.ok(one && more.length === 0, `one container of ${service}`)
    return one
  }

  /** What `script`, an expression, comes to inside a container with Node. */
  async evaluate(container: string, script: string): Promise<string> {
    return this.docker('exec', container, 'node', '--input-type=module', '-e', `console.log(await (${script}))`)
  }

  async logs(container: string): Promise<string> {
    return (await this.try('logs', container)).output
  }

  /** The same project with limits per address that one test client does not reach. */
  async withoutAddressLimits(): Promise<void> {
    const conf = readFileSync(join(ROOT, 'nginx.conf'), 'utf8')
    const raised = conf.replace('rate=200r/m', 'rate=100000r/m').replace('burst=100 ', 'burst=10000 ')
    assert.notEqual(raised, conf)
    const file = join(this.#folder, 'nginx.conf')
    writeFileSync(file, raised, { mode: 0o644 })
    const override = join(this.#folder, 'override.yml')
    writeFileSync(override, `services: { nginx: { volumes: ["${file}:/etc/nginx/nginx.conf:ro"] } }\n`)
    this.#files.push(override)
    await this.compose('up', '-d', '--no-deps', 'nginx')
  }

  /** The same project with these files in place of `config/`, as somebody's own. */
  async withConfig(files: Record<string, string>): Promise<void> {
    const folder = join(this.#folder, 'config')
    mkdirSync(folder, { mode: 0o755 })
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text, { mode: 0o644 })
    const override = join(this.#folder, 'config.yml')
    writeFileSync(override, `services: { gateway: { volumes: ["${folder}:/app/config:ro"] } }\n`)
    this.#files.push(override)
    await this.compose('up', '-d', '--no-deps', '--scale', 'gateway=1', 'gateway')
  }

  async down(): Promise<void> {
    const profile = ['--profile', 'monitoring']
    await this.compose(...profile, 'down', '-v', '--rmi', 'local', '--remove-orphans', '-t', '5')
    for (const port of this.#ports) releasePort(port)
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async #must(args: string[]): Promise<string> {
    const { code, stdout, stderr } = await run(args, this.#environment())
    assert.equal(code, 0, `docker ${args.join(' ')}\n${stdout}\n${stderr}`)
    return stdout.trim()
  }

  /** Nothing of whoever runs the tests decides what is started. */
  #environment(): NodeJS.ProcessEnv {
    const own = Object.entries(process.env).filter(([name]) => !/^(AWS_|SLUICE_|GRAFANA_|LOG_LEVEL$)/.test(name))
    const [port, prometheus] = this.#ports.map(String)
    return { ...Object.fromEntries(own), SLUICE_PORT: port, PROMETHEUS_PORT: prometheus }
  }
}

/** Its files are read by users of the containers. */
function readableFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-containers-'))
  chmodSync(folder, 0o755)
  return folder
}

function run(args: string[], env: NodeJS.ProcessEnv): Promise<{ code: number; stdout: string; stderr: string }> {
  const options = { cwd: ROOT, env, timeout: LONGEST_COMMAND_MS, maxBuffer: 64 * 1024 * 1024 }
  return new Promise(resolve => {
    execFile('docker', args, options, (error, stdout, stderr) => {
      resolve({ code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, stdout, stderr })
    })
  })
}
