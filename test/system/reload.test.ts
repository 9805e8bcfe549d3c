// Keys that come and go while Sluice runs: by SIGHUP, and by every way that files are changed under a running program.
import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { parseConfig } from '../../src/config/load.ts'
import { keySha256 } from '../../src/identity/keys.ts'
import { type ChildSluice, startChildSluiceOn } from '../support/childSluice.ts'
import { signed, signingPair } from '../support/identityProvider.ts'
import { AT_ONCE, CLAUDE, forgetAwsEnvironment } from '../support/simulated.ts'
import { oneModel, startTestSluice } from '../support/sluice.ts'
import { callHttp1, until } from '../support/wire.ts'

const OLD = `sluice_${'o'.repeat(43)}`
const NEW = `sluice_${'n'.repeat(43)}`
const SLOWLY = 'simulator: { latency: { firstTokenMs: 3000, perTokenMs: 0, jitter: 0 } }'

/** Is answered at once. */
const COUNT = {
  path: `/model/${CLAUDE}/count-tokens`,
  body: '{"input":{"converse":{"messages":[{"role":"user","content":[{"text":"hello"}]}]}}}',
}

function yamlOf(keys: string[], { pace = AT_ONCE, watch = true, rest = '' } = {}): string {
  return oneModel(
    'simulator',
    '',
    `${pace}
server: { watchConfig: ${watch} }
auth: { mode: keys${rest} }
# Wrong keys are tried on purpose.
ingress: { failedIdentitiesPerMinute: 1000000 }
clients:
  - { name: web, keySha256: [${keys.map(keySha256).join(', ')}] }
`,
  )
}

interface Bench {
  folder: string
  file: string
  child: ChildSluice
  status(key: string): Promise<number>
  /** Lines of the log with this message. */
  told(message: string): Record<string, unknown>[]
}

async function bench(t: TestContext, text: string, prepare = write): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-reload-'))
  const file = join(folder, 'sluice.yaml')
  prepare(folder, text)
  const child = await startChildSluiceOn(file)
  t.after(async () => {
    child.process.kill('SIGKILL')
    await child.exited
    rmSync(folder, { recursive: true })
  })
  const status = async (key: string) => (await callHttp1(child.url, { ...COUNT, headers: { 'x-api-key': key } })).status
  assert.deepEqual([await status(OLD), await status(NEW)], [200, 403])
  const told = (message: string) =>
    child
      .output()
      .split('\n')
      .filter(line => line.startsWith('{') && line.includes(`"msg":"${message}`))
      .map(line => JSON.parse(line))
  return { folder, file, child, status, told }
}

function write(folder: string, text: string): void {
  writeFileSync(join(folder, 'sluice.yaml'), text)
}

/** As Kubernetes mounts a ConfigMap: the file links into a folder that is itself a link, swapped as a whole. */
function mountConfigMap(folder: string, text: string, version = 'v1'): void {
  mkdirSync(join(folder, version))
  writeFileSync(join(folder, version, 'sluice.yaml'), text)
  symlinkSync(version, join(folder, '..data_tmp'))
  renameSync(join(folder, '..data_tmp'), join(folder, '..data'))
  if (version === 'v1') symlinkSync(join('..data', 'sluice.yaml'), join(folder, 'sluice.yaml'))
}

function renameOver(folder: string, text: string): void {
  writeFileSync(join(folder, '.sluice.yaml.swp'), text)
  renameSync(join(folder, '.sluice.yaml.swp'), join(folder, 'sluice.yaml'))
}

const WAYS: [string, typeof write, typeof write][] = [
  ['written in place', write, write],
  ['renamed over, as editors do', write, renameOver],
  ['a ConfigMap swapped by Kubernetes', mountConfigMap, (folder, text) => mountConfigMap(folder, text, 'v2')],
]
for (const [way, first, change] of WAYS) {
  test(`a config that changes is taken over by itself: ${way}`, async t => {
    const { folder, status, told } = await bench(t, yamlOf([OLD]), first)
    change(folder, yamlOf([NEW]))
    await until(async () => (await status(NEW)) === 200, 'the new key is known', 10_000)
    assert.equal(await status(OLD), 403)
    await until(() => told('config reloaded').length > 0, 'it says so')
    assert.equal(told('config reloaded').length, 1)
  })
}

test('SIGHUP takes it over at once, once; a revoked key ends for new requests and not for those in flight', async t => {
  const { file, child, status, told } = await bench(t, yamlOf([OLD], { pace: SLOWLY }))
  const inFlight = callHttp1(child.url, { headers: { 'x-api-key': OLD } })
  const { url } = child
  const running = async () =>
    JSON.parse((await callHttp1(url, { method: 'GET', path: '/status' })).body.toString()).inFlight
  await until(async () => (await running()) === 1, 'it is in flight')
  writeFileSync(file, yamlOf([NEW], { pace: SLOWLY }))
  child.process.kill('SIGHUP')
  await until(() => told('config reloaded').length === 1, 'it says so')
  assert.deepEqual([await status(OLD), await status(NEW)], [403, 200])
  assert.equal(await running(), 1)
  assert.equal((await inFlight).status, 200)
  // The watch has looked by now, and has not loaded the same again.
  writeFileSync(file, yamlOf([OLD, NEW], { pace: SLOWLY }))
  await until(async () => (await status(OLD)) === 200, 'the watch sees what comes after it', 10_000)
  await until(() => told('config reloaded').length > 1, 'it says so')
  assert.equal(told('config reloaded').length, 2)
})

test('a faulty config changes nothing, says every fault, in the metrics too, and the next good one is taken', async t => {
  const { file, child, status, told } = await bench(t, yamlOf([OLD]))
  const scraped = async () => (await callHttp1(child.url, { method: 'GET', path: '/metrics' })).body.toString()
  assert.match(await scraped(), /^sluice_config_last_load_successful 1$/m)
  const good = yamlOf([NEW])
  writeFileSync(file, good.replace(keySha256(NEW), NEW).replace('maxOutputTokens: 1000', 'maxOutputTokens: -1'))
  await until(() => told('config not reloaded').length > 0, 'it says so', 10_000)
  const [{ faults }] = told('config not reloaded') as [{ faults: string[] }]
  assert.equal(faults.length, 2)
  assert.match(faults.join(), /maxOutputTokens.*keySha256\[0\]: expected 64 hexadecimal digits/s)
  assert.ok(!faults.join().includes(NEW))
  assert.deepEqual([await status(OLD), await status(NEW)], [200, 403])
  assert.match(await scraped(), /^sluice_config_last_load_successful 0$/m)
  writeFileSync(file, good)
  await until(async () => (await status(NEW)) === 200, 'the good one', 10_000)
  assert.equal(told('config not reloaded').length, 1, 'said once')
  assert.match(await scraped(), /^sluice_config_last_load_successful 1$/m)
})

test('a file that is cut, or gone, changes nothing', async t => {
  const { file, status, told } = await bench(t, yamlOf([OLD]))
  const text = yamlOf([NEW])
  writeFileSync(file, text.slice(0, text.indexOf('keySha256') + 12))
  await until(() => told('config not reloaded').length === 1, 'it says so', 10_000)
  rmSync(file)
  await until(() => told('config not reloaded').length === 2, 'it says so again', 10_000)
  assert.match(JSON.stringify(told('config not reloaded')[1]), /expected a readable file, found ENOENT/)
  assert.equal(await status(OLD), 200)
  writeFileSync(file, text)
  await until(async () => (await status(NEW)) === 200, 'it is there again', 10_000)
})

test('server.watchConfig: false leaves it to SIGHUP', async t => {
  const { file, child, status, told } = await bench(t, yamlOf([OLD], { watch: false }))
  writeFileSync(file, yamlOf([NEW], { watch: false }))
  child.process.kill('SIGHUP')
  await until(() => told('config reloaded').length === 1, 'it says so')
  assert.deepEqual([await status(OLD), await status(NEW)], [403, 200])
})

test('an identity provider’s key file is watched too', async t => {
  const first = await signingPair('ES256', 'first')
  const second = await signingPair('ES256', 'second')
  const folder = mkdtempSync(join(tmpdir(), 'sluice-jwks-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const jwksFile = join(folder, 'jwks.json')
  writeFileSync(jwksFile, JSON.stringify({ keys: [first.jwk] }))
  const rest = `, jwt: { issuer: "https://idp", audience: sluice, jwksFile: "${jwksFile}" }`
  const { child, told } = await bench(t, yamlOf([OLD], { rest }))
  const claims = { iss: 'https://idp', aud: 'sluice', azp: 'web', sub: 'ann', exp: Math.floor(Date.now() / 1000) + 600 }
  const [old, young] = [await signed(first, claims), await signed(second, claims)]
  const status = async (token: string) =>
    (await callHttp1(child.url, { headers: { authorization: `Bearer ${token}` } })).status
  assert.deepEqual([await status(old), await status(young)], [200, 403])
  writeFileSync(jwksFile, JSON.stringify({ keys: [second.jwk] }))
  await until(async () => (await status(young)) === 200, 'the new key is known', 10_000)
  assert.equal(await status(old), 403, 'a token that was remembered is forgotten')
  writeFileSync(jwksFile, '{"keys": [')
  await until(() => told('config not reloaded').length === 1, 'it says so', 10_000)
  assert.equal(await status(young), 200)
})

test('open becomes keys without a restart, and nobody is left in by the door that was open', async t => {
  const open = oneModel('simulator', '', `${AT_ONCE}\nclients: [{ name: web, keySha256: ${keySha256(OLD)} }]`)
  const folder = mkdtempSync(join(tmpdir(), 'sluice-reload-'))
  const file = join(folder, 'sluice.yaml')
  writeFileSync(file, open)
  const child = await startChildSluiceOn(file)
  t.after(async () => {
    child.process.kill('SIGKILL')
    await child.exited
    rmSync(folder, { recursive: true })
  })
  const warning = 'auth.mode is open: clients have keys, and nobody is asked for one'
  await until(() => child.output().includes(warning), 'it warns')
  assert.equal((await callHttp1(child.url)).status, 200)
  writeFileSync(file, yamlOf([OLD]))
  child.process.kill('SIGHUP')
  await until(async () => (await callHttp1(child.url)).status === 403, 'it asks for a key')
  assert.equal((await callHttp1(child.url, { headers: { 'x-api-key': OLD } })).status, 200)
})

test('each reload names the settings that are not what runs, until they are again', async t => {
  forgetAwsEnvironment()
  const limited = (requestsPerMinute: number) =>
    oneModel('simulator', '', `${AT_ONCE}\ningress: { requestsPerMinute: ${requestsPerMinute} }`)
  const sluice = await startTestSluice(limited(100))
  t.after(() => sluice.stop(0))
  const reload = (requestsPerMinute: number) => {
    const next = parseConfig(limited(requestsPerMinute), 'test.yaml', { PORT: '0', HOST: '127.0.0.1' })
    assert.ok(next.kind === 'ok')
    return sluice.reload(next.config)
  }
  assert.deepEqual([reload(5), reload(5), reload(100)], [['ingress'], ['ingress'], []])
})
