// Signals that come while Sluice is still starting: here for as long as a Redis takes that is there and says nothing.
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net, { type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { beginSluice, type ChildSluice } from '../support/childSluice.ts'
import { oneModel } from '../support/sluice.ts'
import { until } from '../support/wire.ts'

/** Resolves while it waits for Redis. */
async function starting(t: TestContext): Promise<Pick<ChildSluice, 'process' | 'exited' | 'output'>> {
  const sockets: Socket[] = []
  const redis = net.createServer(socket => sockets.push(socket.on('error', () => {})))
  await new Promise<void>(resolve => redis.listen(0, '127.0.0.1', resolve))
  const folder = mkdtempSync(join(tmpdir(), 'sluice-start-'))
  const file = join(folder, 'sluice.yaml')
  const { port } = redis.address() as AddressInfo
  writeFileSync(file, oneModel('simulator', '', `redis: { url: "redis://127.0.0.1:${port}" }`))
  const child = beginSluice(['serve', '--config', file], { PORT: '0' })
  t.after(async () => {
    child.process.kill('SIGKILL')
    await child.exited
    for (const socket of sockets) socket.destroy()
    redis.close()
    rmSync(folder, { recursive: true })
  })
  await until(() => sockets.length > 0, 'it waits for Redis', 15_000)
  assert.doesNotMatch(child.output(), /listening/)
  return child
}

test('SIGHUP does not end it: the config is read again once it listens', async t => {
  const child = await starting(t)
  child.process.kill('SIGHUP')
  await until(() => child.output().includes('"msg":"config reloaded"'), 'it has reloaded', 15_000)
  assert.match(child.output(), /"msg":"listening".*"msg":"config reloaded"/s)
  assert.equal(child.process.exitCode, null)
})

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} ends it at once with 0: nothing is in flight yet, and it never listens`, async t => {
    const child = await starting(t)
    child.process.kill(signal)
    assert.equal(await child.exited, 0)
    assert.match(child.output(), /"msg":"stopped"/)
    assert.doesNotMatch(child.output(), /listening|listens/)
  })
}
