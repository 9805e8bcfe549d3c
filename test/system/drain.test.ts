// How the process goes: what is in flight is finished, what is not over in time is cut, and the exit code says so.
import assert from 'node:assert/strict'
import type http from 'node:http'
import net from 'node:net'
import { after, afterEach, before, test } from 'node:test'
import { type ChildSluice, startChildSluice } from '../support/childSluice.ts'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel } from '../support/sluice.ts'
import { CONVERSE, call, HELLO, PROTOCOLS, until } from '../support/wire.ts'

let bedrock: FakeBedrock
let held: http.ServerResponse[] = []
let child: ChildSluice | undefined

before(async () => {
  bedrock = await startFakeBedrock((_request, response) => held.push(response))
})
after(() => bedrock.close())
afterEach(async () => {
  for (const response of held) response.destroy()
  held = []
  child?.process.kill('SIGKILL')
  await child?.exited
})

async function start(drainMs: number, rest = ''): Promise<ChildSluice> {
  child = await startChildSluice(
    oneModel(bedrock.url, '', `server: { drainMs: ${drainMs}, headersTimeoutMs: 10000 }\n${rest}`),
  )
  return child
}

async function accepts(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url)
  const socket = net.connect(Number(port), hostname)
  const accepted = await new Promise<boolean>(resolve => {
    socket.on('connect', () => resolve(true))
    socket.on('error', () => resolve(false))
  })
  socket.destroy()
  return accepted
}

const within = async <T>(promise: Promise<T>, ms: number, what: string): Promise<T> => {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what}`)), ms)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

for (const protocol of PROTOCOLS) {
  test(`${protocol}: SIGTERM refuses new connections, finishes what is in flight and exits 0`, async () => {
    const sluice = await start(20_000)
    const reply = call(protocol, sluice.url)
    await until(() => held.length === 1, 'in flight')
    sluice.process.kill('SIGTERM')
    await until(async () => !(await accepts(sluice.url)), 'new connections are refused', 2_000)
    held[0]!.end('{"answer":1}')
    const { status, body, broken } = await reply
    assert.deepEqual([status, body.toString(), broken], [200, '{"answer":1}', false])
    assert.equal(await within(sluice.exited, 2_000, 'it exits once nothing is in flight'), 0)
  })

  test(`${protocol}: what is still in flight when the grace is over is cut, never made to look whole, and it exits 0`, async () => {
    const sluice = await start(300)
    const reply = call(protocol, sluice.url).catch(() => 'cut' as const)
    await until(() => held.length === 1, 'in flight')
    held[0]!.write('{"half":')
    sluice.process.kill('SIGTERM')
    assert.equal(await within(sluice.exited, 3_000, 'it exits once the grace is over'), 0)
    const result = await reply
    assert.ok(result === 'cut' || result.broken)
  })
}

test('SIGINT does the same', async () => {
  const sluice = await start(20_000)
  sluice.process.kill('SIGINT')
  assert.equal(await within(sluice.exited, 2_000, 'it exits'), 0)
})

test('a second signal does not wait: exit code 1, at once', async () => {
  const sluice = await start(20_000)
  call('HTTP/1.1', sluice.url).catch(() => {})
  await until(() => held.length === 1, 'in flight')
  sluice.process.kill('SIGTERM')
  await until(async () => !(await accepts(sluice.url)), 'it drains')
  sluice.process.kill('SIGTERM')
  assert.equal(await within(sluice.exited, 1_000, 'it exits'), 1)
})

test('a keep-alive client does not hold up the exit once its request is answered', async () => {
  const sluice = await start(20_000)
  const { hostname, port } = new URL(sluice.url)
  const socket = net.connect(Number(port), hostname)
  socket.on('error', () => {})
  let answered = ''
  socket.on('data', chunk => {
    answered += chunk
  })
  socket.write(`POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nContent-Length: ${HELLO.length}\r\n\r\n${HELLO}`)
  await until(() => held.length === 1, 'in flight')
  sluice.process.kill('SIGTERM')
  await until(async () => !(await accepts(sluice.url)), 'it drains')
  held[0]!.end('{}')
  await until(() => answered.includes('{}'), 'the answer')
  assert.equal(await within(sluice.exited, 2_000, 'it exits although the client keeps its connection'), 0)
  socket.destroy()
})

test('connections that say nothing do not hold up the exit', async () => {
  const sluice = await start(20_000)
  const { hostname, port } = new URL(sluice.url)
  const silent = net.connect(Number(port), hostname)
  silent.on('error', () => {})
  await new Promise(resolve => silent.on('connect', resolve))
  await call('HTTP/1.1', sluice.url, { method: 'GET', path: '/healthz' })
  sluice.process.kill('SIGTERM')
  await within(sluice.exited, 2_000, 'it exits')
  silent.destroy()
})

test('readyz says draining, with 503, on a connection that is still open', async () => {
  const sluice = await start(20_000)
  const { hostname, port } = new URL(sluice.url)
  const socket = net.connect(Number(port), hostname)
  let answered = ''
  socket.on('data', chunk => {
    answered += chunk
  })
  socket.on('error', () => {})
  const post = `POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nContent-Length: ${HELLO.length}\r\n\r\n${HELLO}`
  socket.write(post)
  await until(() => held.length === 1, 'in flight')
  sluice.process.kill('SIGTERM')
  await until(async () => !(await accepts(sluice.url)), 'it drains')
  socket.write(`GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n${post}`)
  await until(() => held.length === 2, 'what stands behind it has been read')
  held[0]!.end('{}')
  await until(() => answered.includes('draining'), 'readyz answers')
  assert.match(answered, /HTTP\/1\.1 503 /)
  socket.destroy()
})

test('one who waits for a turn when SIGTERM comes still gets it within the grace', async () => {
  child = await startChildSluice(oneModel(bedrock.url, 'requestsPerMinute: 60', 'server: { drainMs: 20000 }'))
  const reply = call('HTTP/1.1', child.url)
  const { url } = child
  const waits = async () =>
    JSON.parse((await call('HTTP/1.1', url, { method: 'GET', path: '/status' })).body.toString()).models[0].waiting ===
    1
  await until(waits, 'it waits for its turn')
  child.process.kill('SIGTERM')
  await until(() => held.length === 1, 'its turn came')
  held[0]!.end('{}')
  assert.equal((await reply).status, 200)
  assert.equal(await within(child.exited, 2_000, 'it exits'), 0)
})
