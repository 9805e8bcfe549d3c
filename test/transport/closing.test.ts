// How a port closes: what is under way is answered, over TLS as on a plain port, and whoever is answered is told to go elsewhere.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import { createOnePort, type Response } from '../../src/transport/onePort.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { exchange, until } from '../support/wire.ts'

const LONGER_THAN_IT_LINGERS_MS = 1_100

const folder = mkdtempSync(join(tmpdir(), 'sluice-closing-'))
after(() => rmSync(folder, { recursive: true }))
const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
const made = spawnSync('openssl', [
  ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
  ...['-keyout', keyFile, '-out', certFile, '-subj', '/CN=localhost'],
])

interface Got {
  status: number | undefined
  connection: string | undefined
  body: string
}

/** Who asks for /held is answered when the test says so, everybody else at once. */
async function start(t: TestContext, isSecure: boolean) {
  const clock = new VirtualClock()
  const held: Response[] = []
  const tls = {
    cert: isSecure ? readFileSync(certFile, 'utf8') : '',
    key: isSecure ? readFileSync(keyFile, 'utf8') : '',
  }
  const timeouts = { headersTimeoutMs: 20_000, requestTimeoutMs: 20_000, idleTimeoutMs: 60_000 }
  const bounds = { maxConnections: 100, maxHeaderBytes: 16_384 }
  const server = createOnePort(
    { ...timeouts, ...bounds, clock, ...(isSecure && { tls }) },
    (request, response, invite) => {
      invite?.()
      request.resume()
      if (request.url === '/held') held.push(response)
      else (response as http.ServerResponse).end('at once')
    },
  )
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const library = isSecure ? https : http
  const agent = new library.Agent({ keepAlive: true, ...(isSecure && { rejectUnauthorized: false }) })
  const url = `${isSecure ? 'https' : 'http'}://127.0.0.1:${(server.address() as AddressInfo).port}`
  t.after(() => {
    agent.destroy()
    server.closeAllConnections()
  })
  const ask = (path: string, isInvited = false) =>
    new Promise<Got>((resolve, reject) => {
      const headers = isInvited ? { expect: '100-continue', 'content-length': 4 } : {}
      const request = library.request(url + path, { method: 'POST', agent, headers }, response => {
        let body = ''
        response.on('data', chunk => {
          body += chunk
        })
        response.on('error', reject)
        response.on('end', () =>
          resolve({ status: response.statusCode, connection: response.headers.connection, body }),
        )
      })
      request.on('error', reject)
      if (isInvited) request.on('continue', () => request.end('body'))
      else request.end()
    })
  const close = () => new Promise<void>(resolve => server.close(() => resolve()))
  return { clock, held, url, ask, close }
}

for (const kind of ['plain', 'TLS']) {
  const skip = kind === 'TLS' && made.status !== 0 ? 'openssl is not there to make a certificate' : false
  describe(`a ${kind} port that closes`, { skip }, () => {
    test('takes a last request on an idle HTTP/1.1 connection, and says that it is the last', async t => {
      const { clock, ask, close } = await start(t, kind === 'TLS')
      assert.deepEqual(await ask('/'), { status: 200, connection: 'keep-alive', body: 'at once' })
      const closed = close()
      assert.deepEqual(await ask('/'), { status: 200, connection: 'close', body: 'at once' })
      await clock.advance(LONGER_THAN_IT_LINGERS_MS)
      await closed
    })

    test('ends a connection that stays idle', async t => {
      const { clock, ask, close } = await start(t, kind === 'TLS')
      await ask('/')
      const closed = close()
      await clock.advance(LONGER_THAN_IT_LINGERS_MS)
      await closed
    })

    for (const isInvited of [false, true]) {
      const what = isInvited ? 'whose body it has invited ("100 Continue")' : 'that is under way'
      test(`answers a request ${what}, however long it takes, and says that it is the last`, async t => {
        const { clock, held, ask, close } = await start(t, kind === 'TLS')
        const reply = ask('/held', isInvited)
        await until(() => held.length === 1, 'it is under way')
        const closed = close()
        await clock.advance(LONGER_THAN_IT_LINGERS_MS)
        ;(held[0] as http.ServerResponse).end('late')
        assert.deepEqual(await reply, { status: 200, connection: 'close', body: 'late' })
        await clock.advance(LONGER_THAN_IT_LINGERS_MS)
        await closed
      })
    }
  })
}

test('an answer with another request behind it on its connection does not say that it is the last', async t => {
  const { held, url, close } = await start(t, false)
  const all = exchange(url, ['GET /held HTTP/1.1\r\nHost: h\r\n\r\n'.repeat(2)])
  await until(() => held.length === 2, 'both are under way')
  const closed = close()
  for (const response of held) (response as http.ServerResponse).end('late')
  assert.deepEqual((await all).match(/Connection: [a-z-]+/g), ['Connection: keep-alive', 'Connection: close'])
  await closed
})
