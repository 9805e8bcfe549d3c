import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ConfigWatch } from '../../src/config/watch.ts'
import { VirtualClock } from '../support/virtualClock.ts'

const SECOND_MS = 1_000

function bench(first: Record<string, string>) {
  const clock = new VirtualClock()
  const files: Record<string, string> = { ...first }
  const reloads: string[] = []
  /** As a load does: the config names the other files. */
  const seen = () => new Map(Object.keys(first).map(path => [path, files[path]]))
  const watch = new ConfigWatch(
    {
      clock,
      read: async path => files[path] ?? Promise.reject(new Error('ENOENT')),
      reload() {
        reloads.push(files.config ?? 'gone')
        return seen()
      },
    },
    seen(),
  )
  return { clock, files, reloads, watch }
}

test('what stands there unchanged reloads nothing, however long', async () => {
  const { clock, reloads } = bench({ config: 'a' })
  await clock.advance(3_600 * SECOND_MS)
  assert.deepEqual(reloads, [])
})

test('a change is taken once, at the second look that sees it: within two seconds', async () => {
  const { clock, files, reloads } = bench({ config: 'a' })
  files.config = 'b'
  await clock.advance(SECOND_MS)
  assert.deepEqual(reloads, [])
  await clock.advance(SECOND_MS)
  assert.deepEqual(reloads, ['b'])
  await clock.advance(60 * SECOND_MS)
  assert.deepEqual(reloads, ['b'])
})

test('a file that is still being written is left until it stands still', async () => {
  const { clock, files, reloads } = bench({ config: 'a' })
  for (const text of ['c', 'cl', 'cli', 'clie']) {
    files.config = text
    await clock.advance(SECOND_MS)
  }
  assert.deepEqual(reloads, [])
  await clock.advance(SECOND_MS)
  assert.deepEqual(reloads, ['clie'])
})

test('what changes twice within a second is taken as it is in the end', async () => {
  const { clock, files, reloads } = bench({ config: 'a' })
  files.config = 'b'
  await clock.advance(SECOND_MS / 2)
  files.config = 'c'
  await clock.advance(2 * SECOND_MS)
  assert.deepEqual(reloads, ['c'])
})

test('a change that is taken back is none', async () => {
  const { clock, files, reloads } = bench({ config: 'a' })
  files.config = 'b'
  await clock.advance(SECOND_MS)
  files.config = 'a'
  await clock.advance(SECOND_MS)
  files.config = 'b'
  await clock.advance(SECOND_MS)
  assert.deepEqual(reloads, [])
})

test('a file away for a moment between two names changes nothing; one that stays away is told once', async () => {
  const { clock, files, reloads } = bench({ config: 'a' })
  delete files.config
  await clock.advance(SECOND_MS)
  files.config = 'a'
  await clock.advance(5 * SECOND_MS)
  assert.deepEqual(reloads, [])
  delete files.config
  await clock.advance(60 * SECOND_MS)
  assert.deepEqual(reloads, ['gone'])
  files.config = 'b'
  await clock.advance(2 * SECOND_MS)
  assert.deepEqual(reloads, ['gone', 'b'])
})

test('every file that the config names is watched', async () => {
  const { clock, files, reloads } = bench({ config: 'a', secret: 'old', jwks: '{}' })
  files.secret = 'new'
  await clock.advance(2 * SECOND_MS)
  assert.equal(reloads.length, 1)
  files.jwks = '{"keys":[]}'
  await clock.advance(2 * SECOND_MS)
  assert.equal(reloads.length, 2)
})

test('SIGHUP loads at once, and the watch does not load the same again', async () => {
  const { clock, files, reloads, watch } = bench({ config: 'a' })
  files.config = 'b'
  await clock.advance(SECOND_MS)
  watch.reload()
  await clock.advance(10 * SECOND_MS)
  assert.deepEqual(reloads, ['b'])
})
