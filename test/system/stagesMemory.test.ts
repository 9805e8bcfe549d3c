// A flood of large bodies at a Sluice of its own process: its memory stays within what its stages take, everybody is told
// something a client understands, and small requests go on.
import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, test } from 'node:test'
import { type ChildSluice, startChildSluice } from '../support/childSluice.ts'
import { type FakeBedrock, startFakeBedrock } from '../support/fakeBedrock.ts'
import { oneModel } from '../support/sluice.ts'
import { assertRefusal, CONVERSE, callHttp1, type Reply } from '../support/wire.ts'

const MB = 1024 * 1024
const FLOOD = 60
const BODY = Buffer.from(JSON.stringify({ messages: [{ role: 'user', content: [{ text: 'x'.repeat(20 * MB) }] }] }))
const HELD_MB = 64
/** Beside what is held: pieces of bodies just put together, twice a body's text in each of two threads, and those threads. */
const MOST_GROWTH_MB = HELD_MB + 280

let bedrock: FakeBedrock
let sluice: ChildSluice
const heldBack: (() => void)[] = []
let refused = 0
/** Small requests that were answered meanwhile. */
let small = 0
const ENOUGH_SMALL = 10

/** Those that were let in are held until all others have been refused, and enough small ones answered: the stage stays full. */
function letGoWhenAllHaveCome(): void {
  if (refused + heldBack.length >= FLOOD && small >= ENOUGH_SMALL) for (const answer of heldBack.splice(0)) answer()
}

before(async () => {
  bedrock = await startFakeBedrock((_request, response, body) => {
    bedrock.seen.length = 0
    if (body.length <= MB) {
      response.end('{}')
      return
    }
    heldBack.push(() => response.end('{}'))
    letGoWhenAllHaveCome()
  })
  sluice = await startChildSluice(oneModel(bedrock.url, '', `stages: { maxReceivingBytes: ${HELD_MB * MB} }`))
})

after(async () => {
  sluice.process.kill('SIGKILL')
  await sluice.exited
  await bedrock.close()
})

function flood(): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-length': String(BODY.length) }
    const request = http.request(sluice.url, { method: 'POST', path: CONVERSE, headers, agent: false })
    request.on('error', reject)
    request.on('response', response => {
      const chunks: Buffer[] = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('end', () => {
        resolve({
          status: response.statusCode!,
          headers: response.headers,
          body: Buffer.concat(chunks),
          broken: !response.complete,
        })
        if (response.statusCode !== 200) request.destroy()
      })
    })
    request.end(BODY)
  })
}

test('1.2 GB of bodies at once grow Sluice by little more than its bound, and small requests are all answered meanwhile', async t => {
  await callHttp1(sluice.url)
  const beforeBytes = sluice.residentBytes()
  let mostBytes = 0
  let isOver = false
  const smallOnes = (async () => {
    while (!isOver) {
      const reply = await callHttp1(sluice.url, { headers: { 'x-sluice-priority': 'high' } })
      assert.equal(reply.status, 200, reply.body.toString())
      small += 1
      letGoWhenAllHaveCome()
      mostBytes = Math.max(mostBytes, sluice.residentBytes())
    }
  })()
  const statuses: Record<number, number> = {}
  const floods = Array.from({ length: FLOOD }, () =>
    flood().then(reply => {
      statuses[reply.status] = (statuses[reply.status] ?? 0) + 1
      if (reply.status === 200) return
      assertRefusal(reply, { status: 503, exception: 'ServiceUnavailableException', code: 'overloaded' })
      assert.ok(Number(reply.headers['retry-after-ms']) >= 100)
      refused += 1
      letGoWhenAllHaveCome()
    }),
  )
  await Promise.all(floods)
  isOver = true
  await smallOnes
  const grownMb = (mostBytes - beforeBytes) / MB
  t.diagnostic(`${JSON.stringify(statuses)}, ${small} small ones meanwhile, grew by ${grownMb.toFixed(0)} MB`)
  assert.ok(statuses[200]! >= 2 && statuses[503]! >= FLOOD - 10)
  assert.ok(small >= ENOUGH_SMALL, `${small} small ones`)
  assert.ok(grownMb < MOST_GROWTH_MB, `grew by ${grownMb.toFixed(0)} MB`)
})
