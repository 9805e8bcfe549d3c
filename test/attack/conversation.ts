// Bytes to a port, all at once, and the bytes that came back until the far end hung up.
import net from 'node:net'
import { statusesOf } from './fuzz.ts'

/** After so long without a byte the far end has said all it has to say, and our half ends. */
const QUIET_MS = 150
const LONGEST_MS = 15_000

/** Our half ends with the last of `answers` HTTP/1.1 answers; without that figure, when it has become quiet. */
export function conversation(url: string, pieces: (string | Buffer)[], answers?: number): Promise<Buffer> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    const socket = net.connect(Number(port), hostname)
    const quiet = answers === undefined ? setTimeout(() => socket.end(), QUIET_MS) : undefined
    const tooLong = setTimeout(() => {
      reject(new Error(`still open, having said ${Buffer.concat(chunks).toString('latin1')}`))
      socket.destroy()
    }, LONGEST_MS)
    socket.on('data', chunk => {
      chunks.push(chunk)
      quiet?.refresh()
      if (answers !== undefined && statusesOf(Buffer.concat(chunks).toString('latin1')).length >= answers) socket.end()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      clearTimeout(quiet)
      clearTimeout(tooLong)
      resolve(Buffer.concat(chunks))
    })
    socket.setNoDelay(true)
    socket.write(Buffer.concat(pieces.map(piece => (typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece))))
  })
}
