// Who may come in, while the settings change.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseConfig } from '../src/config/load.ts'
import type { KeySet } from '../src/identity/keySet.ts'
import { LiveIdentities } from '../src/liveIdentities.ts'
import { systemClock } from '../src/system.ts'
import { createLog } from '../src/telemetry/log.ts'
import { AUDIENCE, ISSUER, rightClaims, signed, signingPair } from './support/identityProvider.ts'
import { presentedWith } from './support/signed.ts'

function configWith(client: string) {
  const result = parseConfig(
    `models: [{ name: m, modelIds: ["*"], maxOutputTokens: 1, pools: [{ name: p, region: us-east-1, endpoint: simulator }] }]
auth: { mode: keys, jwt: { issuer: "${ISSUER}", audience: ${AUDIENCE}, jwksFile: /keys } }
clients: [{ name: ${client} }]`,
    'test.yaml',
  )
  assert.ok(result.kind === 'ok', JSON.stringify(result))
  return result.config
}

test('a token that waits for its key while a reload takes its client away is nobody’s', async () => {
  const pair = await signingPair('ES256', 'ec')
  const { promise: arrived, resolve: arrive } = Promise.withResolvers<void>()
  const keySet: KeySet = { keyFor: () => arrived.then(() => pair.publicKey) }
  const secrets = { signingKeys: new Map(), keySet }
  const identities = new LiveIdentities(configWith('web'), secrets, systemClock, createLog('silent'))
  const token = await signed(pair, rightClaims(systemClock.nowMs()))
  const presented = presentedWith({ authorization: `Bearer ${token}` })
  const stays = identities.whoIs(presented)
  identities.take(configWith('web'), secrets)
  const asked = identities.whoIs(presented)
  identities.take(configWith('other'), secrets)
  arrive()
  assert.equal((await asked).kind, 'denied')
  assert.equal((await stays).kind, 'denied')
  identities.take(configWith('web'), secrets)
  assert.equal((await identities.whoIs(presented)).kind, 'known')
})
