import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { type ClientFinder, type ClientSettings, clientFinder } from '../../src/domain/model.ts'
import { type Identity, identify as identifyKnown } from '../../src/http/identity.ts'
import { OPEN_CLIENT, openIdentities } from '../../src/identity/open.ts'
import type { Who } from '../../src/identity/who.ts'
import { seeded } from '../support/seeds.ts'

const SIGV4 =
  'AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/us-east-1/bedrock/aws4_request, SignedHeaders=host, Signature=abc'

const NOBODY_LISTED = clientFinder([])

/** As the doorkeeper does it while `auth.mode` is `open`. */
function identify(headers: Record<string, string>, address: string | undefined, clientOf: ClientFinder): Identity {
  const who = openIdentities.whoIs({
    method: 'POST',
    rawUrl: '/',
    headers,
    rawHeaders: [],
    address,
    shown: undefined,
  }) as Who
  if (who.kind === 'denied') throw new Error(who.refusal.message)
  return identifyKnown(headers, who, clientOf)
}

function user(headers: Record<string, string>, address?: string): string {
  const identity = identify(headers, address, NOBODY_LISTED)
  assert.equal(identity.kind, 'ok')
  return identity.kind === 'ok' ? identity.flow.user : ''
}

test('x-sluice-user names the user, before any credential', () => {
  assert.equal(user({ 'x-sluice-user': 'ann', authorization: SIGV4 }, '10.0.0.1'), 'ann')
})

test('without a name the SigV4 access key id is the user, so that apps share fairly unconfigured', () => {
  assert.equal(user({ authorization: SIGV4 }, '10.0.0.1'), 'AKIDEXAMPLE')
  assert.equal(user({ 'x-sluice-user': '', authorization: SIGV4 }, '10.0.0.1'), 'AKIDEXAMPLE')
})

for (const headers of [
  { authorization: 'Bearer ABSKsecret' },
  { authorization: 'bearer  ABSKsecret' },
  { 'x-api-key': 'ABSKsecret' },
]) {
  test(`a secret is shown as a short hash only: ${Object.keys(headers)} ${Object.values(headers)[0]!.split(' ')[0]}`, () => {
    assert.match(user(headers, '10.0.0.1'), /^key-[0-9a-f]{12}$/)
    assert.equal(user(headers), user({ authorization: 'Bearer ABSKsecret' }), 'the same secret is the same user')
  })
}

test('two secrets are two users', () => {
  assert.notEqual(user({ authorization: 'Bearer a' }), user({ authorization: 'Bearer b' }))
})

test('without name and credential the address is the user, and without that there is still one', () => {
  assert.equal(user({}, '10.0.0.1'), '10.0.0.1')
  assert.equal(user({}), 'unknown')
})

test('everybody belongs to the open client, at normal priority and with no wait of their own', () => {
  const identity = identify({}, '10.0.0.1', NOBODY_LISTED)
  assert.deepEqual(identity, {
    kind: 'ok',
    flow: { priority: 'normal', client: OPEN_CLIENT, user: '10.0.0.1' },
    maxWaitMs: undefined,
  })
})

for (const priority of ['high', 'normal', 'low', 'HIGH', 'Low']) {
  test(`x-sluice-priority: ${priority} is understood`, () => {
    const identity = identify({ 'x-sluice-priority': priority }, 'a', NOBODY_LISTED)
    assert.equal(identity.kind === 'ok' && identity.flow.priority, priority.toLowerCase())
  })
}

const SETTINGS: ClientSettings = { name: OPEN_CLIENT, weight: 2, priority: 'normal', maxPriority: 'normal' }

function priority(asked: string | undefined, settings: Partial<ClientSettings>): string {
  const headers = asked === undefined ? {} : { 'x-sluice-priority': asked }
  const identity = identify(headers, 'a', clientFinder([{ ...SETTINGS, ...settings }]))
  assert.equal(identity.kind, 'ok')
  return identity.kind === 'ok' ? identity.flow.priority : ''
}

test("without a header the class is the client's own", () => {
  assert.equal(priority(undefined, { priority: 'low' }), 'low')
  assert.equal(priority(undefined, { priority: 'high', maxPriority: 'high' }), 'high')
})

test("who asks for a class above the client's highest gets the highest, who asks for a lower one gets that", () => {
  assert.equal(priority('high', {}), 'normal')
  assert.equal(priority('HIGH', { priority: 'low', maxPriority: 'low' }), 'low')
  assert.equal(priority('low', {}), 'low')
  assert.equal(priority('high', { maxPriority: 'high' }), 'high')
})

test('a class that does not exist is refused even where the client may ask for none', () => {
  const headers = { 'x-sluice-priority': 'urgent' }
  const identity = identify(headers, 'a', clientFinder([{ ...SETTINGS, maxPriority: 'low', priority: 'low' }]))
  assert.match(identity.kind === 'malformed' ? identity.message : '', /^x-sluice-priority: expected .*, found "urgent"/)
})

for (const wait of ['0', '1', '30000', '999999999', ' 5 ']) {
  test(`x-sluice-max-wait-ms: "${wait}" is understood`, () => {
    const identity = identify({ 'x-sluice-max-wait-ms': wait }, 'a', NOBODY_LISTED)
    assert.equal(identity.kind === 'ok' && identity.maxWaitMs, Number(wait))
  })
}

for (const wait of ['', '-1', '1.5', '1e3', '0x10', '5s', 'Infinity', 'NaN', '9999999999', '1, 2']) {
  test(`x-sluice-max-wait-ms: "${wait}" is refused, naming the header and what was found`, () => {
    const identity = identify({ 'x-sluice-max-wait-ms': wait }, 'a', NOBODY_LISTED)
    assert.equal(identity.kind, 'malformed')
    assert.match(identity.kind === 'malformed' ? identity.message : '', /^x-sluice-max-wait-ms: expected .*, found "/)
  })
}

test('an absurd header is not repeated whole', () => {
  const identity = identify({ 'x-sluice-priority': 'x'.repeat(10_000) }, 'a', NOBODY_LISTED)
  assert.ok(identity.kind === 'malformed' && identity.message.length < 200)
})

test('whatever is sent, a user is short, never empty and never the secret itself', t => {
  const text = fc.string({ minLength: 1, maxLength: 300 })
  fc.assert(
    fc.property(fc.option(text), fc.option(text), fc.option(text), (name, authorization, key) => {
      const headers = {
        ...(name !== null && { 'x-sluice-user': name }),
        ...(authorization !== null && { authorization }),
        ...(key !== null && { 'x-api-key': key }),
      }
      const found = user(headers, '10.0.0.1')
      assert.ok(found.length > 0 && found.length <= 128)
      if (name === null && key !== null && key.length > 20) assert.ok(!found.includes(key))
    }),
    seeded(t, 100),
  )
})
