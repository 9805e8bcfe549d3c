// An upstream that says exactly what a test tells it to, on a real socket, and remembers what it was sent.
import http from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Seen {
  method: string
  url: string
  headers: string[]
  body: Buffer
}

export interface FakeBedrock {
  url: string
  seen: Seen[]
  /** Open sockets. */
  connections(): Promise<number>
  close(): Promise<void>
}

type Respond = (request: http.IncomingMessage, response: http.ServerResponse, body: Buffer) => void

export async function startFakeBedrock(respond: Respond): Promise<FakeBedrock> {
  const seen: Seen[] = []
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      seen.push({ method: request.method!, url: request.url!, headers: request.rawHeaders, body })
      respond(request, response, body)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    seen,
    connections: () =>
      new Promise((resolve, reject) => server.getConnections((error, n) => (error ? reject(error) : resolve(n)))),
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

export function header(flat: string[], name: string): string | undefined {
  const at = flat.findIndex((one, i) => i % 2 === 0 && one.toLowerCase() === name)
  return at < 0 ? undefined : flat[at + 1]
}
