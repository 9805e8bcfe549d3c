// Bugs that reviews found and whose tests take seconds: a throttle that drips, a start that fails in a process of its own.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import net, { type AddressInfo } from 'node:net'
import { before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel, startTestSluice } from '../support/sluice.ts'
import { CONVERSE, HELLO, until, useTestCredentials } from '../support/wire.ts'

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url))

before(() => useTestCredentials())

test('a throttle whose body only drips reaches its client within about three seconds', async t => {
  const bedrock = await startFakeBedrock((_request, response) => {
    response.writeHead(429, { 'x-amzn-errortype': 'ThrottlingException', 'content-length': 10_000 })
    const drip = setInterval(() => response.write('a'), 200)
    response.on('close', () => clearInterval(drip))
  })
  t.after(() => bedrock.close())
  const sluice = await startTestSluice(oneModel(bedrock.url))
  t.after(() => sluice.stop(0))
  const socket = net.connect(Number(new URL(sluice.url).port), '127.0.0.1')
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  let text = ''
  socket.on('data', chunk => {
    text += chunk
  })
  socket.write(`POST ${CONVERSE} HTTP/1.1\r\nHost: h\r\nContent-Length: ${HELLO.length}\r\n\r\n${HELLO}`)
  await until(() => /\r\n\r\naaa/.test(text), 'the throttle and what has come of its body', 3_500)
  assert.match(text, /^HTTP\/1\.1 429 /)
  assert.equal(bedrock.seen.length, 1)
})

test('a port that is taken ends the start with exit code 1 and a sentence, no stack', async t => {
  const server = net.createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const { NODE_TEST_CONTEXT: _, ...rest } = process.env
  const env = { ...rest, HOST: '127.0.0.1', PORT: String((server.address() as AddressInfo).port), LOG_LEVEL: 'warn' }
  // Its default config has a simulator: one that still runs would keep the process alive until the timeout.
  const child = spawnSync(process.execPath, [MAIN], { env, encoding: 'utf8', timeout: 15_000, killSignal: 'SIGKILL' })
  assert.equal(child.status, 1, child.stderr)
  assert.match(child.stderr, /^could not start: .*EADDRINUSE.*\n$/)
  assert.doesNotMatch(child.stdout + child.stderr, /\n\s+at /)
})
