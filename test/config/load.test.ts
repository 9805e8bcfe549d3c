import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { formatFault, parseConfig } from '../../src/config/load.ts'
import { MOST_POOLS } from '../../src/config/modelSchema.ts'
import { MAX_REQUEUES } from '../../src/domain/waitingRoom.ts'
import { runSluice } from '../support/childSluice.ts'

const MODEL = 'models: [{ name: a, modelIds: ["*"], pools: [{ name: p, region: us-east-1 }] }]\n'
const pathOf = (file: string) => fileURLToPath(new URL(`../../config/${file}`, import.meta.url))

function faults(text: string, environment = {}): string[] {
  const result = parseConfig(text, 'f.yaml', environment)
  return result.kind === 'faulty' ? result.faults.map(formatFault) : []
}

function config(text: string, environment = {}) {
  const result = parseConfig(text, 'f.yaml', environment)
  assert.equal(result.kind, 'ok', faults(text, environment).join('\n'))
  if (result.kind !== 'ok') throw new Error('unreachable')
  return result.config
}

for (const file of ['local.yaml', 'aws.yaml', 'redis.yaml', 'compose.yaml']) {
  test(`config/${file} has no faults`, () => {
    assert.deepEqual(faults(readFileSync(pathOf(file), 'utf8')), [])
  })
}

test('every fault is listed at once, each with its place, its setting, what was expected and what was found', () => {
  const text = `server:
  port: eighty
  hots: 127.0.0.1
upstream: { connectTimeoutMs: 0 }
models:
  - name: a
    modelIds: []
    outputBurndown: 0.5
    pools:
      - { name: p, region: nowhere, endpoint: "ftp://x", tokensPerMinute: -5 }
  - name: a
    modelIds: ["*"]
    pools: [{ name: q, region: us-east-1 }, { name: q, region: us-east-1 }]
admission: { burst: 2 }
redis: { url: x, commandTimeoutMs: 5 }
redus: { url: x }
`
  assert.deepEqual(faults(text).sort(), [
    'f.yaml:10:28 models[0].pools[0].region: expected an AWS Region such as us-east-1, found "nowhere"',
    'f.yaml:10:47 models[0].pools[0].endpoint: expected an http(s) URL or `simulator`, found "ftp://x"',
    'f.yaml:10:75 models[0].pools[0].tokensPerMinute: expected a value above 0, found -5',
    'f.yaml:14:21 admission.burst: expected a value of at most 0.5, found 2',
    'f.yaml:15:15 redis.url: expected a Redis URL: redis[s]://host:6379, redis[s]+cluster://host:6379,host:6379 or unix:///path, found a value that is not shown',
    'f.yaml:15:36 redis.commandTimeoutMs: expected a value of at least 10, found 5',
    'f.yaml:16:1 redus: expected a setting that exists, found an unknown one',
    'f.yaml:2:9 server.port: expected a number, found "eighty"',
    'f.yaml:3:3 server.hots: expected a setting that exists, found an unknown one',
    'f.yaml:4:31 upstream.connectTimeoutMs: expected a value of at least 1, found 0',
    'f.yaml:7:15 models[0].modelIds: expected a number of entries of at least 1, found []',
    'f.yaml:8:21 models[0].outputBurndown: expected a value of at least 1, found 0.5',
  ])
})

test('a setting with several forms names them', () => {
  const text = 'models: [{ name: a, modelIds: ["*"], pools: [{ name: p, region: us-east-1 }], fallback: [moc] }]'
  assert.deepEqual(faults(text), [
    'f.yaml:1:90 models[0].fallback[0]: expected stale or mock or a section (key: value lines), found "moc"',
  ])
})

test('names used twice are faults of the second use', () => {
  const text = `models:
  - { name: a, modelIds: ["*"], pools: [{ name: q, region: us-east-1 }, { name: q, region: us-east-1 }] }
  - { name: a, modelIds: ["*"], pools: [{ name: q, region: us-east-1 }] }
`
  assert.deepEqual(faults(text), [
    'f.yaml:3:13 models[1].name: expected a name not used before, found "a"',
    'f.yaml:2:81 models[0].pools[1].name: expected a name not used before, found "q"',
  ])
})

test('a request is sent as often as its ticket may go back to the line, and once: more cannot be asked for', () => {
  const most = MAX_REQUEUES + 1
  assert.deepEqual(faults(`${MODEL}retries: { maxAttempts: ${most} }`), [])
  assert.match(faults(`${MODEL}retries: { maxAttempts: ${most + 1} }`).join(), /retries\.maxAttempts/)
})

test('a model has no more pools than the state of its steps has room for', () => {
  const pools = (count: number) =>
    Array.from({ length: count }, (_, i) => `{ name: p${i}, region: us-east-1 }`).join(', ')
  const text = (count: number) => `models: [{ name: a, modelIds: ["*"], pools: [${pools(count)}] }]`
  assert.deepEqual(faults(text(MOST_POOLS)), [])
  assert.match(faults(text(MOST_POOLS + 1)).join(), /models\[0\]\.pools/)
})

test('what is missing is said where it is missing', () => {
  assert.deepEqual(faults('models: [{ name: a, modelIds: ["*"], pools: [{ name: p }] }]'), [
    'f.yaml:1:46 models[0].pools[0].region: expected a text, found nothing',
  ])
  assert.deepEqual(faults('server: { port: 1 }'), ['f.yaml:1:1 models: expected a list, found nothing'])
  assert.deepEqual(faults(''), ['f.yaml models: expected a list, found nothing'])
})

for (const text of ['models: [', 'a: b: c', '\tx: 1', 'models: *nowhere', 'models: 1\nmodels: 2\n']) {
  test(`YAML that is none is a fault with its place: ${JSON.stringify(text)}`, () => {
    const found = faults(text)
    assert.ok(found.length > 0)
    for (const one of found) assert.match(one, /^f\.yaml:\d+:\d+: expected YAML, found: /)
  })
}

for (const text of ['7', '"text"', '[1]', 'null', '--- \n...\n---\na: 1']) {
  test(`a file that is no section is a fault, never a crash: ${JSON.stringify(text)}`, () => {
    assert.ok(faults(text).length > 0)
  })
}

for (const text of [
  'models: &m [*m]',
  'server: &s { host: *s }',
  '&x { models: *x }',
  'auth: { jwt: &j { issuer: *j } }',
]) {
  test(`a value that holds itself is a fault, never a crash: ${text}`, () => {
    assert.match(faults(text).join(), /found something that holds itself/)
  })
}

test('a value that is too long to read is shown shortened', () => {
  const [fault] = faults(`${MODEL}server: { host: [${'1, '.repeat(500)}1] }`)
  assert.ok(fault!.length < 200 && fault!.endsWith('…'))
})

test('HOST and PORT win over the file, and over a file that says nothing of either', () => {
  const text = `${MODEL}server: { host: 127.0.0.1, port: 1 }`
  const { host, port } = config(text, { HOST: '0.0.0.0', PORT: '9090' }).server
  assert.deepEqual([host, port], ['0.0.0.0', 9090])
  assert.equal(config(MODEL, { PORT: '9090' }).server.port, 9090)
  assert.equal(config(text, { HOST: '', PORT: '' }).server.port, 1)
})

for (const PORT of ['eighty', '-1', '80.5', '1e3', ' 80']) {
  test(`PORT="${PORT}" is a fault of the environment, not of the file`, () => {
    assert.deepEqual(faults(MODEL, { PORT }), [`environment PORT: expected a port, found ${JSON.stringify(PORT)}`])
  })
}

test('a PORT beyond all ports is told as one of the environment', () => {
  const [fault] = faults(MODEL, { PORT: '70000' })
  assert.match(fault!, /^environment PORT: expected .*65535.*70000/)
})

test('a PORT override is checked even where the file has no section at all', () => {
  assert.ok(faults('7', { PORT: '8080' }).length > 0)
})

test('REDIS_URL wins over the file, and over a file that says nothing of Redis', () => {
  const text = `${MODEL}redis: { url: "redis://file:1", commandTimeoutMs: 100 }`
  const REDIS_URL = 'rediss+cluster://u:p@a:1,b:2'
  assert.deepEqual(config(text, { REDIS_URL }).redis, {
    url: REDIS_URL,
    commandTimeoutMs: 100,
    connectTimeoutMs: 2_000,
  })
  assert.equal(config(MODEL, { REDIS_URL, PORT: '1' }).redis?.url, REDIS_URL)
  assert.equal(config(MODEL, { REDIS_URL }).redis?.commandTimeoutMs, 250)
  assert.equal(config(text, { REDIS_URL: '' }).redis?.url, 'redis://file:1')
  assert.equal(config(MODEL).redis, undefined, 'the ledger is in memory')
})

test('TRUSTED_PROXIES wins over the file, and each of its words that is none is a fault of the environment', () => {
  const text = `${MODEL}\nserver: { trustedProxies: [loopback] }`
  assert.deepEqual(config(text, { TRUSTED_PROXIES: 'uniquelocal, 8.8.8.8' }).server.trustedProxies, [
    'uniquelocal',
    '8.8.8.8',
  ])
  assert.deepEqual(config(text, { TRUSTED_PROXIES: '' }).server.trustedProxies, ['loopback'])
  const [fault, ...more] = faults(MODEL, { TRUSTED_PROXIES: 'loopback,nginx' })
  assert.match(fault!, /^environment TRUSTED_PROXIES: expected an address, a network .*, found "nginx"$/)
  assert.deepEqual(more, [])
})

test('a REDIS_URL that is none is a fault of the environment', () => {
  const [fault, ...more] = faults(MODEL, { REDIS_URL: 'redis://a,b' })
  assert.match(fault!, /^environment REDIS_URL: expected one host, or redis\+cluster/)
  assert.deepEqual(more, [])
})

for (const text of [
  'redis: { url: "redis://u:SECRET@h:x" }',
  'redis: { url: "redis:/u:SECRET@h" }',
  'redis: { url: ["redis://u:SECRET@h"] }',
  'redis: "redis://u:SECRET@h"',
  'redis: ["u:SECRET@h"]',
  'redis: { uri: "redis://u:SECRET@h" }',
  'server: { host: ["redis://u:a SECRET@h"] }',
  'redis: { url: "redis://u:SECRET@h" } "redis://u:SECRET@h"',
]) {
  test(`a password is in no fault: ${text}`, () => {
    const found = faults(`${MODEL}${text}`)
    assert.ok(found.length > 0)
    assert.ok(!found.join().includes('SECRET'), found.join('\n'))
    assert.ok(!faults(MODEL, { REDIS_URL: 'redis://u:SECRET@h:x' }).join().includes('SECRET'))
  })
}

test('clients have a weight and a range of classes, by default those of everybody', () => {
  assert.deepEqual(config(MODEL).clients, [])
  const { clients } = config(
    `${MODEL}clients: [{ name: open, weight: 0.5 }, { name: batch, maxPriority: low, priority: low }]`,
  )
  assert.deepEqual(clients, [
    { name: 'open', weight: 0.5, priority: 'normal', maxPriority: 'high' },
    { name: 'batch', weight: 1, priority: 'low', maxPriority: 'low' },
  ])
})

test("a client's own limits: each optional, in whole numbers, of models that exist, by one of five algorithms", () => {
  const limits = (text: string) => `${MODEL}clients: [{ name: open, limits: ${text} }]`
  assert.deepEqual(config(limits('{ requestsPerMinute: 60, models: [a] }')).clients[0]!.limits, {
    requestsPerMinute: 60,
    models: ['a'],
    algorithm: 'token-bucket',
  })
  assert.deepEqual(faults(limits('{ requestsPerMinute: 0, tokensPerMinute: 1.5, concurrent: 0, algorithm: gcra }')), [
    'f.yaml:2:54 clients[0].limits.requestsPerMinute: expected a value of at least 1, found 0',
    'f.yaml:2:74 clients[0].limits.tokensPerMinute: expected a whole number, found 1.5',
    'f.yaml:2:91 clients[0].limits.concurrent: expected a value of at least 1, found 0',
    'f.yaml:2:105 clients[0].limits.algorithm: expected one of token-bucket, leaky-bucket, sliding-window-counter, sliding-window-log, fixed-window, found "gcra"',
  ])
  assert.deepEqual(faults(limits('{ models: [a, nobody], burst: 2 }')), [
    'f.yaml:2:56 clients[0].limits.burst: expected a setting that exists, found an unknown one',
    'f.yaml:2:47 clients[0].limits.models[1]: expected the name of a model, found "nobody"',
  ])
})

test('clients named twice, weightless, or of a class above their highest are faults', () => {
  const text = `${MODEL}clients:
  - { name: a, weight: 0 }
  - { name: a, weight: 1001 }
  - { name: b, priority: urgent }
  - { name: c, maxPriority: low }
  - { name: d, password: x }
`
  assert.deepEqual(faults(text), [
    'f.yaml:3:24 clients[0].weight: expected a value of at least 0.001, found 0',
    'f.yaml:4:24 clients[1].weight: expected a value of at most 1000, found 1001',
    'f.yaml:5:26 clients[2].priority: expected one of high, normal, low, found "urgent"',
    'f.yaml:6:29 clients[3].maxPriority: expected at least its priority, normal, found "low"',
    'f.yaml:7:16 clients[4].password: expected a setting that exists, found an unknown one',
  ])
  assert.deepEqual(faults(`${MODEL}clients: [{ name: a }, { name: a }]`), [
    'f.yaml:2:32 clients[1].name: expected a name not used before, found "a"',
  ])
})

test('timeouts that the server cannot hold together are a fault of the config, not a crash at the start', () => {
  assert.ok(faults(`${MODEL}server: { headersTimeoutMs: 20000, requestTimeoutMs: 1000 }`).length > 0)
})

test('stages that could never let in the largest body are a fault of the config', () => {
  assert.deepEqual(faults(`${MODEL}server: { maxBodyBytes: 9000000 }\nstages: { maxReceivingBytes: 11999999 }`), [
    'f.yaml:3:30 stages.maxReceivingBytes: expected at least 12000000, a third more than server.maxBodyBytes (9000000), found 11999999',
  ])
  assert.deepEqual(faults(`${MODEL}server: { maxBodyBytes: 9000000 }\nstages: { maxReceivingBytes: 12000000 }`), [])
})

test('defaults are those of a proxy in front of models that think for minutes', () => {
  const { server, upstream, admission } = config(MODEL)
  assert.deepEqual([server.host, server.port, server.maxBodyBytes], ['127.0.0.1', 8080, 25 * 1024 * 1024])
  assert.equal(upstream.headersTimeoutMs, 900_000)
  assert.deepEqual(admission.maxWaitMs, { high: 30_000, normal: 30_000, low: 300_000 })
  assert.deepEqual([admission.maxWaiting, admission.maxWaitingPerClient], [10_000, 1_000])
})

let folder: string
before(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-config-'))
})
after(() => rmSync(folder, { recursive: true }))

function written(name: string, text: string): string {
  const file = join(folder, name)
  writeFileSync(file, text)
  return file
}

test('sluice check exits 0 for a config without faults and says what is in it', async () => {
  const { code, stdout } = await runSluice(['check', '--config', pathOf('local.yaml')])
  assert.deepEqual([code, stdout], [0, `${pathOf('local.yaml')}: no faults; 3 models, 3 pools\n`])
})

test('sluice check exits 1 and prints every fault, one a line, without a stack', async () => {
  const file = written('faulty.yaml', 'models: []\nserver: { port: x, what: 1 }\n')
  const { code, stdout, stderr } = await runSluice(['check', '--config', file])
  assert.deepEqual([code, stdout], [1, ''])
  assert.equal(stderr.trim().split('\n').length, 3)
  for (const line of stderr.trim().split('\n')) assert.ok(line.startsWith(`${file}:`), line)
})

test('sluice serve does not start on a faulty config', async () => {
  const { code, stderr } = await runSluice(['serve', '--config', written('faulty2.yaml', 'models: []\n')])
  assert.equal(code, 1)
  assert.match(stderr, /models: expected a number of entries of at least 1/)
})

const MISUSE: [string, string[], RegExp][] = [
  ['a file that is not there', ['check', '--config', '/nonexistent.yaml'], /expected a readable file, found ENOENT/],
  ['a folder for a file', ['check', '--config', tmpdir()], /EISDIR/],
  ['an unknown command', ['frobnicate'], /expected serve, check, simulator or key new, found frobnicate/],
  ['two commands', ['check', 'serve'], /expected one command/],
  ['an unknown option', ['check', '--verbose'], /--verbose/],
  ['a port that is none', ['simulator', '--port', 'x'], /--port: expected a port/],
]
for (const [what, args, says] of MISUSE) {
  test(`${what} on the command line exits 1 with one clear sentence`, async () => {
    const { code, stderr } = await runSluice(args)
    assert.equal(code, 1)
    assert.match(stderr, says)
    assert.doesNotMatch(stderr, /\n\s+at /)
  })
}

test('a LOG_LEVEL that does not exist is said before anything starts', async () => {
  const { code, stderr } = await runSluice(['serve', '--config', pathOf('local.yaml')], {
    LOG_LEVEL: 'loud',
    PORT: '0',
  })
  assert.equal(code, 1)
  assert.match(stderr, /LOG_LEVEL: expected one of/)
})
