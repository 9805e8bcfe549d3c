// How addresses are counted while the Redis that all gateways share does not answer.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import Fastify from 'fastify'
import { AddressLimiter } from '../../src/http/addressLimiter.ts'
import { VirtualClock } from '../support/virtualClock.ts'

type Done = (error: Error) => void

test('so many wait for a Redis that does not answer; those beyond them are counted here, at once', async t => {
  const asked: Done[] = []
  const commands: Record<string, unknown> = {
    defineCommand(name: string) {
      commands[name] = (...args: unknown[]) => asked.push(args.at(-1) as Done)
    },
  }
  const limiter = new AddressLimiter({ name: 'x', max: 2, shared: { isUp: true, commands }, clock: new VirtualClock() })
  const app = Fastify()
  t.after(() => app.close())
  app.register(async scope => limiter.install(scope))
  await app.ready()
  const waiting = Array.from({ length: 1_024 }, (_, i) => limiter.count(`10.0.${i >> 8}.${i & 255}`))
  for (const isOver of [false, false, true]) assert.equal((await limiter.count('8.8.8.8')) !== undefined, isOver)
  assert.equal(asked.length, 1_024)
  for (const done of asked.splice(0)) done(new Error('no answer in time'))
  await Promise.all(waiting)
  void limiter.count('9.9.9.9')
  await new Promise(resolve => setImmediate(resolve))
  assert.equal(asked.length, 1, 'there is room again')
})
