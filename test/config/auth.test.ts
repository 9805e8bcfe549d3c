import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadConfig } from '../../src/config/file.ts'
import { formatFault, parseConfig } from '../../src/config/load.ts'
import { readSecrets } from '../../src/config/secrets.ts'
import { runSluice } from '../support/childSluice.ts'

const MODEL = 'models: [{ name: a, modelIds: ["*"], pools: [{ name: p, region: us-east-1 }] }]\n'
const A = 'a'.repeat(64)
const B = 'b'.repeat(64)
const ID = 'SLUICEAAAAAAAAAAAAAA'

/** Without their places. */
function faults(text: string): string[] {
  const result = parseConfig(MODEL + text, 'f.yaml')
  return result.kind === 'faulty' ? result.faults.map(fault => formatFault({ ...fault, place: '' }).trim()) : []
}

function config(text: string) {
  const result = parseConfig(MODEL + text, 'f.yaml')
  assert.ok(result.kind === 'ok', faults(text).join('\n'))
  return result.config
}

const NOT_SHOWN = 'found a value that is not shown'

test('a key or several, an access key or several: each client has lists of them', () => {
  const { auth, clients } = config(`auth: { mode: keys }
clients:
  - { name: one, keySha256: ${A}, sigv4: { accessKeyId: ${ID}, secretEnv: S } }
  - { name: two, keySha256: [${B}, ${'C'.repeat(64)}], sigv4: [{ accessKeyId: ${ID}2, secretFile: /run/s }] }`)
  assert.deepEqual(auth, { mode: 'keys' })
  assert.deepEqual(clients[0]!.keySha256, [A])
  assert.deepEqual(clients[0]!.sigv4, [{ accessKeyId: ID, secretEnv: 'S' }])
  assert.deepEqual(clients[1]!.keySha256, [B, 'C'.repeat(64)])
  assert.deepEqual(clients[1]!.sigv4, [{ accessKeyId: `${ID}2`, secretFile: '/run/s' }])
})

test('mode keys without any credential would shut everybody out; tokens alone are enough', () => {
  const expected = 'auth.mode: expected `open`, or a client with keySha256 or sigv4, or auth.jwt, found "keys"'
  assert.deepEqual(faults('auth: { mode: keys }'), [expected])
  assert.deepEqual(faults('auth: { mode: keys }\nclients: [{ name: a }]'), [expected])
  assert.deepEqual(faults('auth: { mode: keys, jwt: { issuer: i, audience: a, jwksFile: f } }'), [])
})

test('while the mode is open credentials may stand there unread, tokens may not', () => {
  const { clients } = config(`clients: [{ name: a, keySha256: ${A} }]`)
  assert.equal(clients[0]!.keySha256?.length, 1)
  assert.deepEqual(faults('auth: { jwt: { issuer: i, audience: a, jwksFile: f } }'), [
    'auth.mode: expected `keys` beside auth.jwt, found nothing',
  ])
})

test('a credential belongs to one client: a second one is a fault, however it is written', () => {
  const two = (one: string, other: string) => faults(`clients: [{ name: a, ${one} }, { name: b, ${other} }]`)
  assert.deepEqual(two(`keySha256: ${A}`, `keySha256: [${B}, ${A.toUpperCase()}]`), [
    `clients[1].keySha256: expected a key of this client alone, ${NOT_SHOWN}`,
  ])
  assert.deepEqual(faults(`clients: [{ name: a, keySha256: [${A}, ${A}] }]`), [
    `clients[0].keySha256: expected a key of this client alone, ${NOT_SHOWN}`,
  ])
  const key = `sigv4: { accessKeyId: ${ID}, secretEnv: S }`
  assert.deepEqual(two(key, key), [`clients[1].sigv4: expected an accessKeyId of this client alone, ${NOT_SHOWN}`])
  const jwt = 'auth: { mode: keys, jwt: { issuer: i, audience: a, jwksFile: f } }\n'
  assert.deepEqual(faults(`${jwt}clients: [{ name: a }, { name: b, jwtClientIds: [c, a] }]`), [
    'clients[1].jwtClientIds: expected ids, or a name, of this client alone, found ["c","a"]',
  ])
})

test('tokens: every fault at once, with what was expected', () => {
  assert.deepEqual(
    faults(`auth:
  mode: keys
  jwt: { audience: [], jwksUrl: "http://login.example.com/keys", jwksFile: f, algorithms: [HS256, none], clockSkewS: 3600, audiance: x }`).toSorted(),
    [
      'auth.jwt.audiance: expected a setting that exists, found an unknown one',
      'auth.jwt.issuer: expected a text, found nothing',
      'auth.jwt.audience: expected a number of entries of at least 1, found []',
      'auth.jwt.jwksUrl: expected an https URL without user and password (http: on this machine only), found "http://login.example.com/keys"',
      ...['HS256', 'none'].map(
        (name, i) =>
          `auth.jwt.algorithms[${i}]: expected one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA, Ed25519, found "${name}"`,
      ),
      'auth.jwt.clockSkewS: expected a value of at most 300, found 3600',
    ].toSorted(),
  )
  const both = 'jwksUrl: "https://h/k", jwksFile: f'
  for (const [keys, found] of [
    [both, '"https://h/k"'],
    ['clockSkewS: 1', 'nothing'],
  ])
    assert.deepEqual(faults(`auth: { mode: keys, jwt: { issuer: i, audience: a, ${keys} } }`), [
      `auth.jwt.jwksUrl: expected one of jwksUrl and jwksFile, found ${found}`,
    ])
})

const SECRET = 'sluice_SECRETSECRETSECRETSECRETSECRETSECRET'
for (const text of [
  `clients: [{ name: a, keySha256: ${SECRET} }]`,
  `clients: [{ name: a, keySha256: [${SECRET}, 5] }]`,
  `clients: [{ name: a, keySha256: { key: ${SECRET} } }]`,
  `clients: [{ name: a, key: ${SECRET} }]`,
  `clients: [{ name: a, sigv4: ${SECRET} }]`,
  `clients: [{ name: a, sigv4: { accessKeyId: ${ID}, secret: SECRET } }]`,
  `clients: [{ name: a, sigv4: { accessKeyId: ${ID}, secretEnv: "SECRET/+" } }]`,
  `clients: [{ name: a, sigv4: { accessKeyId: "SECRET", secretEnv: A } }]`,
  `clients: { a: { keySha256: SECRET } }`,
  `clients: [keySha256, SECRET]`,
  `clients: SECRET`,
  `auth: ${SECRET}`,
  `auth: { mode: keys, jwt: { issuer: i, audience: a, jwksUrl: "https://u:SECRET@h/keys" } }`,
  `clients: [{ name: a, keySha256: ${SECRET} }`,
]) {
  test(`what may be a secret is in no fault: ${text.slice(0, 90)}`, () => {
    const found = faults(text)
    assert.ok(found.length > 0)
    assert.ok(!found.join().includes('SECRET'), found.join('\n'))
  })
}

test('a key where its hash belongs is said to be one', () => {
  assert.deepEqual(faults(`clients: [{ name: a, keySha256: ${SECRET} }]`), [
    `clients[0].keySha256: expected 64 hexadecimal digits, a key's SHA-256 and not the key itself, ${NOT_SHOWN}`,
  ])
})

function secretsOf(text: string, variables: Record<string, string> = {}, files: Record<string, string> = {}) {
  const read = (path: string) => {
    if (files[path] === undefined) throw new Error('ENOENT')
    return files[path]
  }
  return readSecrets(config(text), { variables, read })
}

const KEYS = 'auth: { mode: keys }\n'

test('secrets come from variables and files, of both without what stands around them', () => {
  const text = `${KEYS}clients: [{ name: a, sigv4: [{ accessKeyId: ${ID}, secretEnv: S }, { accessKeyId: ${ID}2, secretFile: /s }] }]`
  const [one, two] = ['1'.repeat(16), '2'.repeat(16)]
  const result = secretsOf(text, { S: `${one}\n` }, { '/s': ` ${two}\r\n` })
  assert.ok(result.kind === 'ok')
  assert.deepEqual(Object.fromEntries(result.secrets.signingKeys), {
    [ID]: { client: 'a', secret: one },
    [`${ID}2`]: { client: 'a', secret: two },
  })
})

test('a secret that is not there is a fault, each of them at once, and no name is shown that may be the secret', () => {
  const text = `${KEYS}clients:
  - { name: a, sigv4: [{ accessKeyId: ${ID}, secretEnv: SECRET }, { accessKeyId: ${ID}2, secretFile: SECRET }] }
  - { name: b, sigv4: [{ accessKeyId: ${ID}3, secretEnv: EMPTY }, { accessKeyId: ${ID}4, secretFile: /long }, { accessKeyId: ${ID}5, secretEnv: SHORT }] }`
  const result = secretsOf(text, { EMPTY: ' \n', SHORT: 'x'.repeat(15) }, { '/long': 'x'.repeat(1025) })
  assert.deepEqual(result.kind === 'faulty' && result.faults, [
    {
      setting: 'clients[0].sigv4[0].secretEnv',
      message:
        'expected the name of a variable that was set when Sluice started, found one that was not, or was empty; a secretFile is read at every reload',
    },
    {
      setting: 'clients[0].sigv4[1].secretFile',
      message: 'expected a file with the secret, found none that this user may read, or an empty one',
    },
    {
      setting: 'clients[1].sigv4[0].secretEnv',
      message:
        'expected the name of a variable that was set when Sluice started, found one that was not, or was empty; a secretFile is read at every reload',
    },
    { setting: 'clients[1].sigv4[1]', message: 'expected a secret of 16 to 1024 characters, found a longer one' },
    { setting: 'clients[1].sigv4[2]', message: 'expected a secret of 16 to 1024 characters, found a shorter one' },
  ])
})

test('while the mode is open no secret is asked for', () => {
  const result = secretsOf(`clients: [{ name: a, sigv4: { accessKeyId: ${ID}, secretEnv: S } }]`)
  assert.ok(result.kind === 'ok' && result.secrets.signingKeys.size === 0)
})

for (const [what, content] of [
  ['is not there', undefined],
  ['is cut', '{"keys": [{"kty":'],
  ['is no key set', '{"keys": "none"}'],
  ['is one key', '{"kty":"EC"}'],
] as const) {
  test(`a jwksFile that ${what} is a fault`, () => {
    const text = 'auth: { mode: keys, jwt: { issuer: i, audience: a, jwksFile: /jwks } }'
    const result = secretsOf(text, {}, content === undefined ? {} : { '/jwks': content })
    assert.deepEqual(result.kind === 'faulty' && result.faults, [
      { setting: 'auth.jwt.jwksFile', message: 'expected a file with a JSON Web Key Set, found none in "/jwks"' },
    ])
  })
}

test('a load tells the text of each file it read, and which it could not read: those are watched', t => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-auth-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const [file, secretFile, jwksFile] = ['sluice.yaml', 'secret', 'jwks.json'].map(name => join(folder, name))
  const text = `${MODEL}auth: { mode: keys, jwt: { issuer: i, audience: a, jwksFile: "${jwksFile}" } }
clients: [{ name: a, sigv4: { accessKeyId: ${ID}, secretFile: "${secretFile}" } }]`
  writeFileSync(file!, text)
  writeFileSync(secretFile!, 'the-secret-itself')
  const faulty = loadConfig(file!, {})
  assert.deepEqual([faulty.kind, ...faulty.files.values()], ['faulty', text, 'the-secret-itself', undefined])
  writeFileSync(jwksFile!, '{"keys":[]}')
  const loaded = loadConfig(file!, {})
  assert.equal(loaded.kind, 'ok')
  assert.deepEqual(
    [...loaded.files],
    [
      [file, text],
      [secretFile, 'the-secret-itself'],
      [jwksFile, '{"keys":[]}'],
    ],
  )
})

test('sluice key new prints a key and lines that are a config which lets it in', async () => {
  const { stdout, code } = await runSluice(['key', 'new', '--client', '1.5'])
  assert.equal(code, 0)
  assert.match(stdout, /^ {2}sluice_[\w-]{43}$/m)
  const { clients, auth } = config(stdout.slice(stdout.indexOf('auth:')))
  assert.equal(auth.mode, 'keys')
  assert.equal(clients[0]!.name, '1.5')
  assert.match(clients[0]!.keySha256![0]!, /^[0-9a-f]{64}$/)
})

test('sluice key new --sigv4 prints an access key, where its secret goes, and the config that reads it there', async () => {
  const { stdout } = await runSluice(['key', 'new', '--client', 'team-a', '--sigv4'])
  const [, variable, secret] = /^(SLUICE_SECRET_TEAM_A)=(\S{40})$/m.exec(stdout)!
  assert.match(stdout, new RegExp(`^AWS_SECRET_ACCESS_KEY=${secret}$`, 'm'))
  const [, accessKeyId] = /^AWS_ACCESS_KEY_ID=(SLUICE\w{14})$/m.exec(stdout)!
  const result = secretsOf(stdout.slice(stdout.indexOf('auth:')), { [variable!]: secret! })
  assert.ok(result.kind === 'ok')
  assert.deepEqual(result.secrets.signingKeys.get(accessKeyId!), { client: 'team-a', secret })
})

test('a client name that the config would not take is refused by key new too', async () => {
  const { code, stderr } = await runSluice(['key', 'new', '--client', 'a b'])
  assert.equal(code, 1)
  assert.match(stderr, /--client: expected letters, digits/)
})
