// The simulator on a port: HTTP/1.1 and HTTP/2, bounded bodies, backpressure, and callers that leave.
import type http from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import type { Readable, Stream } from 'node:stream'
import type { Clock } from '../domain/clock.ts'
import { createOnePort, type Request, type Response } from '../transport/onePort.ts'
import { answerAdmin } from './admin.ts'
import type { Leave, SimulatedReply } from './call.ts'
import type { SimulatorSettings } from './settings.ts'
import { MAX_BODY_BYTES, Simulator } from './simulator.ts'

export interface RunningSimulator {
  url: string
  port: number
  simulator: Simulator
  /** Drops what is under way. */
  close(): Promise<void>
}

const PORT_OPTIONS = {
  headersTimeoutMs: 30_000,
  requestTimeoutMs: 120_000,
  idleTimeoutMs: 300_000,
  maxHeaderBytes: 32_768,
  maxConnections: 65_536,
}

/** Rejects when the port cannot be had. Port 0 takes any. */
export async function startSimulator(options: {
  settings: SimulatorSettings
  clock: Clock
  host: string
  port: number
}): Promise<RunningSimulator> {
  const simulator = new Simulator(options.settings, options.clock)
  const server = createOnePort({ ...PORT_OPTIONS, clock: options.clock }, (request, response, invite) => {
    invite?.()
    serve(simulator, request, response)
  })
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  const { port } = server.address() as AddressInfo
  const host = options.host.includes(':') ? `[${options.host}]` : options.host
  const close = () =>
    new Promise<void>(resolve => {
      server.close(() => resolve())
      for (const socket of sockets) socket.destroy()
    })
  return { url: `http://${host}:${port}`, port, simulator, close }
}

function serve(simulator: Simulator, request: Request, response: Response): void {
  const incoming: Readable = request
  const outgoing: Stream = response
  const chunks: Buffer[] = []
  let bytes = 0
  let leave: Leave = () => {}
  let received = false
  const receive = () => {
    if (received) return
    received = true
    const { method = 'GET', url: rawUrl = '/', headers } = request
    const whole = { method, rawUrl, headers, body: Buffer.concat(chunks) }
    const admin = answerAdmin(simulator, whole)
    const reply = replyOver(request, response)
    if (admin) sendAdmin(reply, admin.status, Buffer.from(JSON.stringify(admin.body)))
    else leave = simulator.receive(whole, reply)
  }
  incoming.on('data', (chunk: Buffer) => {
    if (received) return
    chunks.push(chunk)
    bytes += chunk.length
    // Refused by its size; the rest is read and dropped, or the refusal could not be read by a caller still sending.
    if (bytes > MAX_BODY_BYTES) receive()
  })
  incoming.on('end', receive)
  incoming.on('error', () => leave())
  outgoing.on('error', () => leave())
  outgoing.on('close', () => {
    received = true
    leave()
  })
}

function sendAdmin(reply: SimulatedReply, status: number, json: Buffer): void {
  reply.head(status, ['Content-Type', 'application/json', 'Content-Length', String(json.length)])
  reply.data(json)
  reply.end()
}

function replyOver(request: Request, response: Response): SimulatedReply {
  return response instanceof http2.Http2ServerResponse ? overHttp2(response) : overHttp1(request, response)
}

function overHttp1(request: Request, response: http.ServerResponse): SimulatedReply {
  return {
    head: (status, headers) => {
      response.sendDate = false
      response.writeHead(status, response.shouldKeepAlive ? [...headers, 'Connection', 'keep-alive'] : headers)
    },
    data: chunk => (response.write(chunk) ? undefined : release => void response.once('drain', release)),
    end: () => void response.end(),
    // What was written still goes out: the peer must see an answer that breaks off, not one that never began.
    cut: () => request.socket.destroySoon(),
  }
}

/** HTTP/2 forbids Connection and Transfer-Encoding. Other calls may share the connection: a cut resets this stream alone. */
function overHttp2(response: http2.Http2ServerResponse): SimulatedReply {
  const reset = () => response.stream?.close(http2.constants.NGHTTP2_INTERNAL_ERROR)
  return {
    head: (status, headers) => {
      response.sendDate = false
      for (let i = 0; i + 1 < headers.length; i += 2) response.setHeader(headers[i]!, headers[i + 1]!)
      response.writeHead(status)
    },
    data: chunk => (response.write(chunk) ? undefined : release => void response.once('drain', release)),
    end: () => void response.end(),
    // A reset overtakes what is still queued: it waits for that to be sent.
    cut: () => (response.headersSent ? void response.write(Buffer.alloc(0), reset) : reset()),
  }
}
