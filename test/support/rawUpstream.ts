// An upstream at the level of sockets: for what no HTTP server would say.
import net, { type AddressInfo, type Socket } from 'node:net'

export interface RawUpstream {
  url: string
  /** Requests whose head has arrived. */
  requests: number
  close(): Promise<void>
}

/** `respond` is called once for each request, when its head has arrived. */
export async function startRawUpstream(respond: (socket: Socket, request: number) => void): Promise<RawUpstream> {
  const sockets = new Set<Socket>()
  const server = net.createServer(socket => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    socket.on('error', () => {})
    socket.on('data', chunk => {
      if (!chunk.includes('HTTP/1.1\r\n')) return
      upstream.requests += 1
      respond(socket, upstream.requests)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const upstream: RawUpstream = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: 0,
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
  return upstream
}

/** Nobody listens there. The kernel hands out no port so low, so no other test can come to listen there meanwhile. */
export const REFUSED_URL = 'http://127.0.0.1:1'
