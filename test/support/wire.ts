// Clients that hide nothing: one request over HTTP/1.1 or HTTP/2 on a connection of its own, or bare bytes, and exactly what came back.
import assert from 'node:assert/strict'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'

export interface Call {
  method?: string
  path?: string
  headers?: Record<string, string | string[]>
  body?: string | Buffer
}

export interface Reply {
  status: number
  headers: http.IncomingHttpHeaders
  body: Buffer
  /** The answer did not come to its end: reset, cut, or fewer bytes than announced. */
  broken: boolean
}

export type Protocol = 'HTTP/1.1' | 'HTTP/2'
export const PROTOCOLS: Protocol[] = ['HTTP/1.1', 'HTTP/2']

export const CONVERSE = '/model/any.model-v1%3A0/converse'
export const HELLO = '{"messages":[{"role":"user","content":[{"text":"hello"}]}],"inferenceConfig":{"maxTokens":10}}'

export function call(protocol: Protocol, url: string, what: Call = {}): Promise<Reply> {
  return protocol === 'HTTP/1.1' ? callHttp1(url, what) : callHttp2(url, what)
}

export function callHttp1(url: string, what: Call = {}): Promise<Reply> {
  const { method = 'POST', path = CONVERSE, headers = {}, body = HELLO } = what
  return new Promise((resolve, reject) => {
    const request = http.request(url, { method, path, headers, agent: false })
    request.on('error', reject)
    request.on('response', response => {
      const chunks: Buffer[] = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('error', () => {})
      response.on('close', () =>
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          body: Buffer.concat(chunks),
          broken: !response.complete,
        }),
      )
    })
    request.end(/^(GET|HEAD|DELETE)$/.test(method) ? undefined : body)
  })
}

export function callHttp2(
  url: string,
  what: Call = {},
  options: http2.SecureClientSessionOptions = {},
): Promise<Reply> {
  const { method = 'POST', path = CONVERSE, headers = {}, body = HELLO } = what
  return new Promise((resolve, reject) => {
    const session = http2.connect(url, options)
    session.on('error', reject)
    const stream = session.request({ ':method': method, ':path': path, ...headers })
    let head: http2.IncomingHttpHeaders | undefined
    const chunks: Buffer[] = []
    stream.on('response', got => {
      head = got
    })
    stream.on('data', chunk => chunks.push(chunk))
    stream.on('error', () => {})
    stream.on('close', () => {
      session.close()
      if (!head) return reject(new Error(`the stream closed without an answer (${stream.rstCode})`))
      const broken = stream.rstCode !== 0 || !stream.readableEnded
      resolve({ status: Number(head[':status']), headers: head, body: Buffer.concat(chunks), broken })
    })
    stream.end(/^(GET|HEAD|DELETE)$/.test(method) ? undefined : body)
  })
}

/** Writes `pieces` one after the other and resolves with all that came back once the far end has closed, or fails after `withinMs`. */
export function exchange(url: string, pieces: (string | Buffer)[], withinMs = 5_000): Promise<string> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), hostname)
    const chunks: Buffer[] = []
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`still open after ${withinMs} ms, having said: ${Buffer.concat(chunks).toString('latin1')}`))
    }, withinMs)
    socket.on('data', chunk => chunks.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(timer)
      resolve(Buffer.concat(chunks).toString('latin1'))
    })
    socket.setNoDelay(true)
    for (const piece of pieces) socket.write(piece)
  })
}

/** Bare bytes of one HTTP/1.1 answer, taken apart. */
export function parseAnswer(text: string): { status: number; headers: Record<string, string>; body: string } {
  const end = text.indexOf('\r\n\r\n')
  assert.ok(end > 0, `an HTTP/1.1 answer, not ${JSON.stringify(text.slice(0, 200))}`)
  const [first, ...lines] = text.slice(0, end).split('\r\n')
  const headers = Object.fromEntries(
    lines.map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  )
  return { status: Number(first!.split(' ')[1]), headers, body: text.slice(end + 4) }
}

/** Resolves when `condition` holds; fails with `what` if it does not within the bound. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  withinMs = 5_000,
): Promise<void> {
  const lastMs = performance.now() + withinMs
  while (!(await condition())) {
    assert.ok(performance.now() < lastMs, `not within ${withinMs} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 2))
  }
}

/** A refusal of Sluice's own, in Bedrock's shape. Returns its message. */
export function assertRefusal(
  reply: Pick<Reply, 'status' | 'headers' | 'body'>,
  expected: { status: number; exception: string; code: string },
): string {
  assert.match(String(reply.headers['x-amzn-requestid']), /^[0-9a-f-]{36}$/, 'x-amzn-requestid')
  return assertRefusalBesideId(reply, expected)
}

/** … of bytes that never became a request. */
export function assertRefusalBesideId(
  reply: Pick<Reply, 'status' | 'headers'> & { body: Buffer | string },
  expected: { status: number; exception: string; code: string },
): string {
  const said = reply.body.toString()
  assert.equal(reply.status, expected.status, said)
  assert.equal(reply.headers['x-sluice-refusal'], expected.code)
  assert.match(String(reply.headers['x-amzn-errortype']), new RegExp(`^${expected.exception}:`))
  assert.match(String(reply.headers['content-type']), /^application\/json/)
  const { message } = JSON.parse(said) as { message: string }
  assert.ok(message.length > 10, said)
  return message
}

/** Credentials of Sluice itself, and nothing of the developer's own that could replace them. */
export function useTestCredentials(): void {
  for (const name of Object.keys(process.env)) if (name.startsWith('AWS_')) delete process.env[name]
  Object.assign(process.env, {
    AWS_ACCESS_KEY_ID: 'AKIDSLUICE',
    AWS_SECRET_ACCESS_KEY: 'secret-of-sluice',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/nonexistent',
    AWS_SHARED_CREDENTIALS_FILE: '/nonexistent',
  })
}
