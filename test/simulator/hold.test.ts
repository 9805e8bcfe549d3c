// Backpressure without sockets: a reply that holds gets nothing more until it releases.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Simulator } from '../../src/simulator/simulator.ts'
import { VirtualClock } from '../support/virtualClock.ts'
import { QUICK, userSays } from './drive.ts'

function holding(perTokenMs: number) {
  const clock = new VirtualClock()
  const simulator = new Simulator(
    { ...QUICK, latency: { firstTokenMs: 0, perTokenMs, jitter: 0 }, answerTokens: 5000 },
    clock,
  )
  const seen = { chunks: 0, ended: false, release: () => {} }
  const body = Buffer.from(JSON.stringify({ messages: userSays('Say') }))
  const request = { method: 'POST', rawUrl: '/model/anthropic.claude-v2/converse-stream', headers: {}, body }
  const leave = simulator.receive(request, {
    head() {},
    data() {
      seen.chunks += 1
      return release => {
        seen.release = release
      }
    },
    end() {
      seen.ended = true
    },
    cut() {},
  })
  return { clock, simulator, seen, leave }
}

for (const perTokenMs of [0, 10]) {
  test(`a held stream stands still at ${perTokenMs} ms a token, and goes on once for each release`, async () => {
    const { clock, seen } = holding(perTokenMs)
    await clock.advance(3_600_000)
    assert.equal(seen.chunks, 1)
    const first = seen.release
    first()
    first()
    await clock.advance(3_600_000)
    assert.equal(seen.chunks, 2)
    while (!seen.ended) {
      seen.release()
      await clock.advance(1000)
    }
  })

  test(`a caller that leaves while it holds at ${perTokenMs} ms a token gets nothing after`, async () => {
    const { clock, simulator, seen, leave } = holding(perTokenMs)
    await clock.advance(1000)
    leave()
    seen.release()
    await clock.advance(3_600_000)
    assert.equal(seen.chunks, 1)
    assert.equal(simulator.counts().quotas[0]!.left, 1)
  })
}
