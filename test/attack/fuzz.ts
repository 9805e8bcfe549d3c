// Malformed requests against two whole Sluices in processes of their own, one that asks for keys and one that does not, before
// an upstream that takes nothing in doubt: each
// case on a connection of its own, judged by what came back. By hand: node test/attack/fuzz.ts COUNT SEED [PROTOCOL INDEX].
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { seededDice } from '../../src/simulator/dice.ts'
import { type ChildSluice, startChildSluice } from '../support/childSluice.ts'
import { answersOf, FRAME, readFrames } from '../support/http2Frames.ts'
import { oneModel } from '../support/sluice.ts'
import { type StrictBedrock, startStrictBedrock } from '../support/strictBedrock.ts'
import { type Protocol, until } from '../support/wire.ts'
import { holdsRightCredential, JWKS, keysConfig, VARIABLES } from './credentials.ts'
import { type Malformed, malformedHttp1 } from './malformedHttp1.ts'
import { malformedHttp2 } from './malformedHttp2.ts'
import { indicesIn } from './malformedParts.ts'

/** So many at once. */
const PARALLEL = 48
/** After so long without a byte the client has said all it has to say. */
const QUIET_MS = 60
/** It has closed by then, whatever it was sent: twice the timeouts below, and time for a busy machine. */
const CLOSED_MS = 20_000

const LIMITS = `
server: { headersTimeoutMs: 2000, requestTimeoutMs: 4000, idleTimeoutMs: 2000, maxBodyBytes: 65536 }
stages: { maxLoopDelayMs: 10000 }`

export interface Target {
  open: ChildSluice
  /** `auth.mode: keys`. */
  keys: ChildSluice
  /** Of each. */
  residentBytes(): number[]
  bedrock: StrictBedrock
  stop(): Promise<void>
}

export async function startTarget(): Promise<Target> {
  const bedrock = await startStrictBedrock()
  const folder = mkdtempSync(join(tmpdir(), 'sluice-fuzz-'))
  const jwksFile = join(folder, 'jwks.json')
  writeFileSync(jwksFile, JWKS)
  const start = (rest: string) =>
    startChildSluice(oneModel(bedrock.url, '', LIMITS + rest).replace('"*"', '"any.*", "arn:*"'), VARIABLES)
  const both = await Promise.all([start(''), start(keysConfig(jwksFile))])
  const [open, keys] = both
  return {
    open,
    keys,
    bedrock,
    residentBytes: () => both.map(sluice => sluice.residentBytes()),
    async stop() {
      for (const sluice of both) sluice.process.kill('SIGKILL')
      await Promise.all(both.map(sluice => sluice.exited))
      await bedrock.close()
      rmSync(folder, { recursive: true })
    },
  }
}

export interface Tally {
  /** Answers by status; `closed`: the connection or stream ended without one. */
  counts: Record<string, number>
  /** Each with what it takes to send it again. */
  failures: string[]
}

export async function fuzz(target: Target, protocol: Protocol, seed: number, from: number, to: number): Promise<Tally> {
  const tally: Tally = { counts: {}, failures: [] }
  let next = from
  const worker = async () => {
    while (next < to && tally.failures.length < 20) {
      const index = next
      next += 1
      const malformed = caseOf(protocol, seed, index)
      const { url } = asksForKeys(index) ? target.keys : target.open
      const verdict = judge(protocol, index, malformed, await send(url, malformed, seededDice(seed, index)()))
      for (const status of verdict.statuses) tally.counts[status] = (tally.counts[status] ?? 0) + 1
      if (verdict.fault)
        tally.failures.push(
          `${verdict.fault} · node test/attack/fuzz.ts 1 ${seed} ${protocol} ${index} · ${malformed.what}`,
        )
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
  return tally
}

function caseOf(protocol: Protocol, seed: number, index: number): Malformed {
  const malformed = protocol === 'HTTP/1.1' ? malformedHttp1 : malformedHttp2
  return malformed(seed, index, asksForKeys(index))
}

/** Every other one is sent to the Sluice that does. */
function asksForKeys(index: number): boolean {
  return index % 2 === 1
}

interface Verdict {
  statuses: (number | 'closed')[]
  fault?: string
}

function judge(protocol: Protocol, index: number, { pieces }: Malformed, came: Buffer | undefined): Verdict {
  if (!came) return { statuses: [], fault: 'still open' }
  const text = came.toString('latin1')
  const statuses = protocol === 'HTTP/1.1' ? statusesOf(text) : answersOf(readFrames(came)).map(one => one.status)
  if (statuses.length === 0) return { statuses: ['closed'] }
  const wrong = statuses.find(status => status >= 500 || (status >= 300 && status < 400))
  if (wrong !== undefined) return { statuses, fault: `answered ${wrong}: ${JSON.stringify(text.slice(0, 700))}` }
  const served = statuses.some(status => status < 300)
  const other = served && indicesIn(bodiesOf(protocol, came)).find(one => one !== index)
  if (typeof other === 'number') return { statuses, fault: `the answer to ${other}` }
  if (served && asksForKeys(index) && !holdsRightCredential(Buffer.concat(pieces)))
    return { statuses, fault: 'let in without a credential' }
  return { statuses }
}

function bodiesOf(protocol: Protocol, came: Buffer): string {
  if (protocol === 'HTTP/1.1') return came.toString('latin1')
  const data = readFrames(came).filter(one => one.type === FRAME.data)
  return Buffer.concat(data.map(one => one.payload)).toString('latin1')
}

/** Final ones. No body here holds such a line. */
export function statusesOf(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3}) [A-Z]/g)].map(match => Number(match[1])).filter(status => status >= 200)
}

/** All that came back until the far end closed; undefined: it did not. The client ends its half, or (`manner`) resets. */
function send(url: string, { pieces }: Malformed, manner: number): Promise<Buffer | undefined> {
  const { hostname, port } = new URL(url)
  return new Promise(resolve => {
    const chunks: Buffer[] = []
    const socket = net.connect(Number(port), hostname)
    const quiet = setTimeout(() => (manner < 0.1 ? socket.resetAndDestroy() : socket.end()), QUIET_MS)
    const tooLong = setTimeout(() => {
      resolve(undefined)
      socket.destroy()
    }, CLOSED_MS)
    socket.on('data', chunk => {
      chunks.push(chunk)
      quiet.refresh()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(quiet)
      clearTimeout(tooLong)
      resolve(Buffer.concat(chunks))
    })
    socket.setNoDelay(true)
    for (const piece of pieces) socket.write(piece)
  })
}

/** What must be true of a Sluice after anything. */
export async function aftermath({ open, keys, bedrock }: Target): Promise<string[]> {
  const faults = await Promise.all([open, keys].map(faultsOf))
  return [...bedrock.faults.slice(0, 5), ...faults.flat()]
}

async function faultsOf(sluice: ChildSluice): Promise<string[]> {
  if (sluice.process.exitCode !== null) return [`it exited with ${sluice.process.exitCode}: ${sluice.output()}`]
  await until(async () => (await inFlight(sluice)) === 0, 'nothing is in flight', 10_000)
  const logged = sluice.output().split('\n')
  return logged.filter(line => /"level":[56]0|"msg":"fault"/.test(line)).slice(0, 5)
}

async function inFlight({ url }: ChildSluice): Promise<number> {
  const status = (await (await fetch(`${url}/status`)).json()) as { inFlight: number }
  return status.inFlight
}

/** A line of figures after so many. */
const BY_HAND = 10_000

async function byHand([count = '10000', seed = '1', protocol, index]: string[]): Promise<void> {
  const target = await startTarget()
  const from = Number(index ?? 0)
  for (const one of protocol ? [protocol as Protocol] : (['HTTP/1.1', 'HTTP/2'] as const)) {
    for (let at = from; at < from + Number(count); at += BY_HAND) {
      const startedMs = performance.now()
      const { counts, failures } = await fuzz(
        target,
        one,
        Number(seed),
        at,
        Math.min(at + BY_HAND, from + Number(count)),
      )
      const seconds = Math.round((performance.now() - startedMs) / 1000)
      console.log(
        one,
        JSON.stringify(counts),
        `${seconds} s, ${target.residentBytes().map(bytes => Math.round(bytes / 2 ** 20))} MB`,
      )
      for (const failure of failures) console.log(failure)
    }
    if (index)
      console.log(JSON.stringify(caseOf(one, Number(seed), from).pieces.map(piece => piece.toString('latin1'))))
  }
  console.log(await aftermath(target))
  await target.stop()
}

if (import.meta.main) await byHand(process.argv.slice(2))
