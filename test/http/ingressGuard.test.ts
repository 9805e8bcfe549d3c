// The guard as the doorkeeper uses it, with identities of the test's own, in this process's memory.
import assert from 'node:assert/strict'
import { afterEach, beforeEach, mock, test } from 'node:test'
import Fastify, { type FastifyInstance } from 'fastify'
import { networksOf } from '../../src/config/ingressSchema.ts'
import type { Clock } from '../../src/domain/clock.ts'
import { clientFinder } from '../../src/domain/model.ts'
import type { RefusalCode } from '../../src/domain/refusal.ts'
import { ClientAddress } from '../../src/http/clientAddress.ts'
import { type Admission, Doorkeeper } from '../../src/http/doorkeeper.ts'
import { IngressGuard, type IngressGuardParts } from '../../src/http/ingressGuard.ts'
import type { Identities, Presented, Who } from '../../src/identity/who.ts'
import type { Request } from '../../src/transport/onePort.ts'

/** The package reads the clock itself. */
beforeEach(() => mock.timers.enable({ apis: ['Date'], now: 1_800_000_000_000 }))
let apps: FastifyInstance[] = []
afterEach(async () => {
  mock.timers.reset()
  for (const app of apps) await app.close()
  apps = []
})
const clock: Clock = { nowMs: () => Date.now(), after: () => () => {} }

/** `Bearer good…` is right, of the client after a colon, `Bearer away` cannot be judged, `AWS4-HMAC-SHA256` is right if the body says "right". */
class Judge implements Identities {
  asked = 0

  whoIs({ headers: { authorization } }: Presented): Who {
    this.asked += 1
    if (authorization === undefined) return denied('no-credentials')
    if (authorization.startsWith('Bearer good'))
      return { kind: 'known', client: authorization.split(':')[1] ?? 'c', user: 'u' }
    if (authorization === 'Bearer old') return denied('expired-token')
    if (authorization === 'Bearer away') return denied('identity-unavailable')
    if (!authorization.startsWith('AWS4-HMAC-SHA256 ')) return denied('unknown-key')
    if (authorization.endsWith('revoked')) return denied('unknown-key')
    const checkBody = (body: Buffer) => (String(body) === 'right' ? undefined : refusal('bad-signature'))
    return { kind: 'known', client: 'c', user: 'u', checkBody }
  }
}

const refusal = (code: RefusalCode) => ({ code, message: code })
const denied = (code: RefusalCode): Who => ({ kind: 'denied', refusal: refusal(code) })

interface Door {
  judge: Judge
  ask(
    authorization: string | undefined,
    address?: string,
    others?: Record<string, string>,
  ): Admission | Promise<Admission>
}

async function door(
  limits: Partial<Pick<IngressGuardParts, 'requestsPerMinute' | 'failedIdentitiesPerMinute' | 'shared'>>,
): Promise<Door> {
  const judge = new Judge()
  const doorkeeper = new Doorkeeper({
    address: new ClientAddress(networksOf([])),
    guard: new IngressGuard({ asks: () => true, ...limits, clock }),
    identities: judge,
    clientOf: clientFinder([]),
  })
  const app = Fastify()
  apps.push(app)
  app.register(async scope => doorkeeper.install(scope))
  await app.ready()
  return {
    judge,
    ask: (authorization, address = '8.8.8.8', others = {}) =>
      doorkeeper.letIn({
        method: 'POST',
        url: '/',
        headers: authorization === undefined ? others : { authorization, ...others },
        rawHeaders: [],
        socket: { remoteAddress: address },
      } as unknown as Request),
  }
}

/** What became of it: `in`, or the refusal's code. */
async function said(answer: Admission | Promise<Admission>): Promise<string> {
  const admission = await answer
  return admission.kind === 'in' ? 'in' : admission.refusal.code
}

test('without a limit a request is let in at once, with no promise made', async () => {
  const { ask } = await door({ failedIdentitiesPerMinute: 3 })
  assert.ok(!(ask('Bearer good') instanceof Promise))
})

test('an address may ask so often in a minute, another address as often again', async () => {
  const { ask, judge } = await door({ requestsPerMinute: 3 })
  for (const address of ['8.8.8.8', '9.9.9.9'])
    for (const expected of ['in', 'in', 'in', 'address-limit', 'address-limit'])
      assert.equal(await said(ask('Bearer good', address)), expected)
  assert.equal(judge.asked, 6, 'who is refused for its address is not asked who it is')
})

test('who is over is told when its minute ends, and is let in then', async () => {
  const { ask } = await door({ requestsPerMinute: 1 })
  await ask('Bearer good')
  mock.timers.tick(20_000)
  const refused = [await ask('Bearer good'), await ask('Bearer good')]
  for (const one of refused) assert.equal(one.kind === 'refused' && one.refusal.retryAfterMs, 40_000)
  mock.timers.tick(39_999)
  assert.equal(await said(ask('Bearer good')), 'address-limit')
  mock.timers.tick(1)
  assert.equal(await said(ask('Bearer good')), 'in')
})

test('a clock that is set back refuses nobody for longer than a minute', async () => {
  const { ask } = await door({ failedIdentitiesPerMinute: 1 })
  await ask('Bearer bad')
  assert.equal(await said(ask('Bearer good')), 'too-many-failures')
  mock.timers.setTime(1_700_000_000_000)
  assert.equal(await said(ask('Bearer good')), 'in')
})

test('the addresses of one IPv6 /64 are counted together', async () => {
  const { ask } = await door({ requestsPerMinute: 2 })
  assert.equal(await said(ask('Bearer good', '2001:db8:1:2::1')), 'in')
  assert.equal(await said(ask('Bearer good', '2001:db8:1:2:ffff::2')), 'in')
  assert.equal(await said(ask('Bearer good', '2001:db8:1:2::3')), 'address-limit')
  assert.equal(await said(ask('Bearer good', '2001:db8:1:3::1')), 'in')
})

test('after so many wrong credentials the next is not looked at, wrong or right, until the minute ends', async () => {
  const { ask, judge } = await door({ failedIdentitiesPerMinute: 3 })
  for (let i = 0; i < 3; i++) assert.equal(await said(ask(`Bearer guess ${i}`)), 'unknown-key')
  assert.equal(await said(ask('Bearer guess 4')), 'too-many-failures')
  const right = await ask('Bearer good')
  assert.ok(right.kind === 'refused' && right.refusal.code === 'too-many-failures')
  assert.ok(right.refusal.retryAfterMs! > 0 && right.refusal.retryAfterMs! <= 60_000)
  assert.equal(judge.asked, 3)
  assert.equal(await said(ask('Bearer good', '9.9.9.9')), 'in', 'another address is not hindered')
  mock.timers.tick(60_000)
  assert.equal(await said(ask('Bearer good')), 'in')
})

test('a credential that was right at this address goes on; the same at another address is not known there', async () => {
  const { ask } = await door({ failedIdentitiesPerMinute: 2 })
  await ask('Bearer good-app', '8.8.8.8')
  for (const address of ['8.8.8.8', '9.9.9.9']) for (let i = 0; i < 2; i++) await ask(`Bearer guess ${i}`, address)
  assert.equal(await said(ask('Bearer good-app', '8.8.8.8')), 'in')
  assert.equal(await said(ask('Bearer good-other', '8.8.8.8')), 'too-many-failures')
  assert.equal(await said(ask('Bearer good-app', '9.9.9.9')), 'too-many-failures')
  assert.equal(await said(ask(undefined, '8.8.8.8')), 'too-many-failures')
})

const signed = (signature: string, id = 'AKIDEXAMPLE') =>
  `AWS4-HMAC-SHA256 Credential=${id}/20261122/us-east-1/bedrock/aws4_request, Signature=${signature}`

async function send(door: Door, signature: string, body: string): Promise<string> {
  const admission = await door.ask(signed(signature))
  if (admission.kind === 'refused') return admission.refusal.code
  const code = admission.checkBody!(Buffer.from(body))?.code ?? 'in'
  // The answer does not wait for the count.
  await new Promise(resolve => setImmediate(resolve))
  return code
}

test('a signature is proven only by its body, and known by its access key id from then on', async () => {
  const one = await door({ failedIdentitiesPerMinute: 2 })
  assert.equal(await send(one, '1', 'right'), 'in')
  for (let i = 0; i < 2; i++) await one.ask(`Bearer guess ${i}`)
  assert.equal(await send(one, '2', 'right'), 'in')
})

test('a signature whose body has not come yet is not proven', async () => {
  const one = await door({ failedIdentitiesPerMinute: 1 })
  assert.equal(await said(one.ask(signed('1'))), 'in')
  await one.ask('Bearer guess')
  assert.equal(await send(one, '2', 'right'), 'too-many-failures')
})

test('a wrong signature counts as a failure and does not lock out the owner of the access key id it names', async () => {
  const one = await door({ failedIdentitiesPerMinute: 2 })
  assert.equal(await send(one, '1', 'right'), 'in')
  for (let i = 0; i < 5; i++) assert.equal(await send(one, 'forged', 'wrong'), 'bad-signature')
  assert.equal(await said(one.ask('Bearer good')), 'too-many-failures')
  assert.equal(await send(one, '2', 'right'), 'in')
  assert.equal(await said(one.ask(signed('3', 'AKIDANOTHER'))), 'too-many-failures')
})

test('what is looked at behind a shut door costs Redis nothing, wrong as it may be', async () => {
  let counted = 0
  const commands: Record<string, unknown> = {
    defineCommand(name: string) {
      commands[name] = (...args: unknown[]) => (args.at(-1) as (...said: unknown[]) => void)(null, [++counted, 60_000])
    },
  }
  const one = await door({ failedIdentitiesPerMinute: 2, shared: { isUp: true, commands } })
  assert.equal(await send(one, '1', 'right'), 'in')
  for (let i = 0; i < 5; i++) assert.equal(await send(one, 'forged', 'wrong'), 'bad-signature')
  assert.equal(counted, 2)
})

test('whose name somebody was wrong in has room as one who is not known, until it is right again', async () => {
  const one = await door({ failedIdentitiesPerMinute: 9 })
  const roomFor = async () => {
    const admission = await one.ask(signed('1'))
    return admission.kind === 'in' && admission.roomFor
  }
  assert.equal(await roomFor(), 'low')
  await send(one, '1', 'right')
  assert.equal(await roomFor(), 'normal')
  await send(one, 'forged', 'wrong')
  assert.equal(await roomFor(), 'low')
  await send(one, '2', 'right')
  assert.equal(await roomFor(), 'normal')
})

test('an access key that nobody has any more is not known from before', async () => {
  const one = await door({ failedIdentitiesPerMinute: 2 })
  assert.equal(await send(one, '1', 'right'), 'in')
  assert.equal(await send(one, 'revoked', ''), 'unknown-key')
  await one.ask('Bearer guess')
  assert.equal(await send(one, 'revoked', ''), 'too-many-failures')
})

test('what a request carries beside the credential that decides is nothing that has to be remembered', async () => {
  const { ask } = await door({ failedIdentitiesPerMinute: 1 })
  await ask('Bearer good-app')
  for (let i = 0; i <= 10_000; i++) await ask('Bearer good', '9.9.9.9', { 'x-api-key': `${i}` })
  await ask('Bearer guess')
  assert.equal(await said(ask('Bearer good-app', '8.8.8.8', { 'x-api-key': 'any' })), 'in')
})

test('a client whose tokens are new all the time pushes out its own, the oldest first, and nobody else', async () => {
  const { ask } = await door({ failedIdentitiesPerMinute: 1 })
  await ask('Bearer good-app')
  for (let i = 0; i <= 20_000; i++) await ask(`Bearer good-${i}:tokens`)
  await ask('Bearer guess')
  assert.equal(await said(ask('Bearer good-app')), 'in')
  assert.equal(await said(ask('Bearer good-19001:tokens')), 'in')
  assert.equal(await said(ask('Bearer good-19000:tokens')), 'too-many-failures')
})

test('at most 10,000 are remembered: of whoever was right longest ago', async () => {
  const { ask } = await door({ failedIdentitiesPerMinute: 1 })
  for (let i = 0; i < 12; i++) for (let j = 0; j < 1_000; j++) await ask(`Bearer good-${j}:${i}`)
  await ask('Bearer guess')
  const known = async (client: number) => (await said(ask(`Bearer good-999:${client}`))) === 'in'
  assert.deepEqual([await known(0), await known(1), await known(2), await known(11)], [false, false, true, true])
})

test('a bearer that spells an access key id is not taken for its owner', async () => {
  const one = await door({ failedIdentitiesPerMinute: 1 })
  assert.equal(await send(one, '1', 'right'), 'in')
  await one.ask('Bearer guess')
  const before = one.judge.asked
  assert.equal(await said(one.ask('Bearer Credential=AKIDEXAMPLE/x')), 'too-many-failures')
  assert.equal(one.judge.asked, before)
})

for (const [what, credential, code] of [
  ['no credential', undefined, 'no-credentials'],
  ['an expired token', 'Bearer old', 'expired-token'],
  ['a provider of identities that is away', 'Bearer away', 'identity-unavailable'],
] as const) {
  test(`${what} is no guess`, async () => {
    const { ask } = await door({ failedIdentitiesPerMinute: 2 })
    for (let i = 0; i < 10; i++) assert.equal(await said(ask(credential)), code)
    assert.equal(await said(ask('Bearer good')), 'in')
  })
}

test('at most 10,000 addresses are remembered: whoever was counted longest ago begins anew', async () => {
  const { ask } = await door({ requestsPerMinute: 1 })
  await ask('Bearer good', '8.8.8.8')
  assert.equal(await said(ask('Bearer good', '8.8.8.8')), 'address-limit')
  for (let i = 0; i < 10_000; i++) {
    const address = `10.0.${i >> 8}.${i & 255}`
    await ask('Bearer good', address)
    await ask('Bearer good', address)
  }
  assert.equal(await said(ask('Bearer good', '8.8.8.8')), 'in')
})
