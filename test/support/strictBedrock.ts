// An upstream that takes bytes for a request only when they can be read in one way: what Sluice sends must be one whole
// request after the other, each with one length, signed by Sluice, nothing between them. Its answer says which request it is the answer to.
import net, { type AddressInfo, type Socket } from 'node:net'
import { verify } from './sigv4.ts'

export interface Arrived {
  method: string
  url: string
  /** As they came, names in lower case. */
  headers: [name: string, value: string][]
  body: Buffer
}

export interface StrictBedrock {
  url: string
  arrived: Arrived[]
  /** What was no request, in words. */
  faults: string[]
  close(): Promise<void>
}

/** As in `useTestCredentials`. */
const SLUICE = { accessKeyId: 'AKIDSLUICE', secretAccessKey: 'secret-of-sluice' }
const LINE = /^(GET|POST) (\/[!-~]*) HTTP\/1\.1$/
const HEADER = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([\t -~\x80-\xff]*)$/

export async function startStrictBedrock(): Promise<StrictBedrock> {
  const arrived: Arrived[] = []
  const faults: string[] = []
  const sockets = new Set<Socket>()
  const server = net.createServer(socket => {
    let waiting = Buffer.alloc(0)
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    socket.on('data', chunk => {
      waiting = Buffer.concat([waiting, chunk])
      for (;;) {
        const read = readRequest(waiting)
        if (read === 'unfinished') return
        if (typeof read === 'string') {
          faults.push(`${read}: ${JSON.stringify(waiting.toString('latin1').slice(0, 300))}`)
          socket.destroy()
          return
        }
        waiting = waiting.subarray(read.bytes)
        arrived.push(read.request)
        answer(socket, read.request, arrived.length)
      }
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    arrived,
    faults,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

function readRequest(bytes: Buffer): { request: Arrived; bytes: number } | string {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return 'unfinished'
  const [first, ...lines] = bytes.subarray(0, end).toString('latin1').split('\r\n')
  const line = LINE.exec(first!)
  if (!line) return 'no request line'
  const headers: Arrived['headers'] = []
  for (const one of lines) {
    const header = HEADER.exec(one)
    if (!header) return 'no header'
    headers.push([header[1]!.toLowerCase(), header[2]!])
  }
  for (const name of ['host', 'authorization', 'x-amz-date'])
    if (valuesOf(headers, name).length !== 1) return `${valuesOf(headers, name).length} × ${name}`
  if (valuesOf(headers, 'transfer-encoding').length > 0) return 'a transfer-encoding'
  const lengths = valuesOf(headers, 'content-length')
  if (lengths.length > 1 || (line[1] === 'POST' && lengths.length === 0)) return `${lengths.length} × content-length`
  if (lengths[0] !== undefined && !/^\d+$/.test(lengths[0])) return 'no length'
  const total = end + 4 + Number(lengths[0] ?? 0)
  if (bytes.length < total) return 'unfinished'
  const request = { method: line[1]!, url: line[2]!, headers, body: Buffer.from(bytes.subarray(end + 4, total)) }
  return isDecodable(request.url)
    ? (verify({ ...request, target: request.url }, SLUICE) ?? { request, bytes: total })
    : { request, bytes: total }
}

/** Of a query that is not, nobody can say what its signature should be. */
function isDecodable(url: string): boolean {
  try {
    return decodeURIComponent(url) !== ''
  } catch {
    return false
  }
}

export function valuesOf(headers: Arrived['headers'], name: string): string[] {
  return headers.filter(([one]) => one === name).map(([, value]) => value)
}

function answer(socket: Socket, { url }: Arrived, serial: number): void {
  const body = `{"serial":${serial},"url":${JSON.stringify(url)},"output":{"message":{"role":"assistant","content":[{"text":"hello"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}`
  const head = `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-answers: ${url}\r\nContent-Length: ${Buffer.byteLength(body)}`
  socket.write(`${head}\r\n\r\n${body}`)
}
