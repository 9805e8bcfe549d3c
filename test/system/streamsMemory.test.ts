// A slow reader must not make Sluice swallow the answer: a process of its own, its resident memory, and an upstream that
// notices how far it is ahead.
import assert from 'node:assert/strict'
import http from 'node:http'
import http2 from 'node:http2'
import type { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { type ChildSluice, startChildSluice } from '../support/childSluice.ts'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel } from '../support/sluice.ts'
import { HELLO, PROTOCOLS, type Protocol, until } from '../support/wire.ts'

const CHUNK = Buffer.alloc(64 * 1024, 0x61)
const CHUNKS = 320
const TOTAL = CHUNK.length * CHUNKS
const MOST_GROWTH = 20 * 1024 * 1024
const PATH = '/model/any.m/converse-stream'

let bedrock: FakeBedrock
let sluice: ChildSluice
/** Bytes that the upstream's socket has really taken. */
let flushed = 0

before(async () => {
  bedrock = await startFakeBedrock(async (_request, response) => {
    flushed = 0
    response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' })
    for (let i = 0; i < CHUNKS; i++) {
      await new Promise<void>(resolve => response.write(CHUNK, () => resolve()))
      flushed += CHUNK.length
    }
    response.end()
  })
  sluice = await startChildSluice(oneModel(bedrock.url))
})

after(async () => {
  sluice.process.kill('SIGKILL')
  await sluice.exited
  await bedrock.close()
})

function open(protocol: Protocol): Promise<Readable> {
  return new Promise((resolve, reject) => {
    if (protocol === 'HTTP/1.1') {
      const request = http.request(sluice.url, { method: 'POST', path: PATH, agent: false }, resolve)
      request.on('error', reject)
      request.end(HELLO)
      return
    }
    const session = http2.connect(sluice.url)
    session.on('error', reject)
    const stream = session.request({ ':method': 'POST', ':path': PATH })
    stream.on('response', () => resolve(stream))
    stream.on('close', () => session.close())
    stream.end(HELLO)
  })
}

/** Reads to the end in pieces, with a turn of the event loop and more after each; calls `each` on the way. */
async function readSlowly(stream: Readable, each: () => void): Promise<number> {
  let bytes = 0
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length
    each()
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  return bytes
}

for (const protocol of PROTOCOLS) {
  test(`${protocol}: 20 MB for a slow reader grow Sluice by less than 20 MB, for the upstream is held back`, async () => {
    // The first stream compiles the code it runs through and fills the buffers that stay: growth after it is a hoard.
    assert.equal(await readSlowly(await open(protocol), () => {}), TOTAL)
    const beforeBytes = sluice.residentBytes()
    const stream = await open(protocol)
    // Not read at all: the upstream gets ahead by what sockets and buffers hold, and no further.
    let last = -1
    let sameSinceMs = performance.now()
    await until(() => {
      if (flushed !== last) {
        last = flushed
        sameSinceMs = performance.now()
      }
      return flushed > 0 && performance.now() - sameSinceMs > 300
    }, 'the upstream is held back')
    assert.ok(last < TOTAL * 0.75, `the upstream could send ${last} of ${TOTAL} bytes to a reader that reads nothing`)
    let mostBytes = sluice.residentBytes()
    const read = await readSlowly(stream, () => {
      mostBytes = Math.max(mostBytes, sluice.residentBytes())
    })
    assert.equal(read, TOTAL)
    const grownMb = (mostBytes - beforeBytes) / 1024 / 1024
    assert.ok(mostBytes - beforeBytes < MOST_GROWTH, `grew by ${grownMb.toFixed(1)} MB`)
  })
}
