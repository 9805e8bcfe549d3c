// The front door as it is, with a virtual access key as the one way in, and nothing behind it: every invocation let in is kept
// and answered alike.
import { type AddressInfo, BlockList } from 'node:net'
import { LoopDelay } from '../../src/domain/loopDelay.ts'
import { clientFinder, type ModelSettings } from '../../src/domain/model.ts'
import type { Refusal } from '../../src/domain/refusal.ts'
import { Book } from '../../src/gateway/book.ts'
import type { Finished, Invocation } from '../../src/gateway/ports.ts'
import { Stage } from '../../src/gateway/stage.ts'
import { buildApp } from '../../src/http/app.ts'
import { ClientAddress } from '../../src/http/clientAddress.ts'
import { DemandReaders } from '../../src/http/demandReaders.ts'
import { Doorkeeper } from '../../src/http/doorkeeper.ts'
import { IngressGuard } from '../../src/http/ingressGuard.ts'
import { Receiving } from '../../src/http/receiving.ts'
import { isSigned, whoSigned } from '../../src/identity/sigv4.ts'
import type { Presented } from '../../src/identity/who.ts'
import { systemClock } from '../../src/system.ts'
import { PLAIN } from './models.ts'
import { keyOf } from './signed.ts'

export interface SignedDoor {
  url: string
  presented: Presented[]
  invocations: Invocation[]
  refusals: Refusal[]
  close(): Promise<void>
}

const ANSWER = JSON.stringify({
  output: { message: { role: 'assistant', content: [{ text: 'hello' }] } },
  stopReason: 'end_turn',
  usage: { inputTokens: 1, outputTokens: 1, totalTokens: 2 },
  asyncInvokeSummaries: [],
})
const MODEL: ModelSettings = {
  ...PLAIN,
  bytesPerToken: 4,
  name: 'any',
  modelIds: ['*'],
  outputBurndown: 1,
  maxOutputTokens: 100,
  pools: [{ name: 'only', region: 'us-east-1' }],
}

export async function startSignedDoor(): Promise<SignedDoor> {
  const [presented, invocations, refusals]: [Presented[], Invocation[], Refusal[]] = [[], [], []]
  const stage = (name: 'receive' | 'identify' | 'price') => new Stage(name, 2 ** 28, systemClock, { observe() {} })
  const pricing = new DemandReaders({ stage: stage('price'), clock: systemClock, fault() {} })
  const book = new Book(
    {
      async handle(invocation, answer) {
        invocations.push(invocation)
        const notes = { pool: 'only', waitMs: 0, attempts: 1 }
        answer.head(200, ['content-type', 'application/json'], notes, { pause() {}, resume() {} })
        answer.data(Buffer.from(ANSWER))
        answer.end()
        return {} as Finished
      },
    },
    { finished() {} },
  )
  const app = buildApp({
    port: {
      headersTimeoutMs: 5_000,
      requestTimeoutMs: 5_000,
      idleTimeoutMs: 5_000,
      maxConnections: 100,
      maxHeaderBytes: 16_384,
      clock: systemClock,
    },
    dataPlane: {
      book,
      findModel: modelId => (modelId.startsWith('unknown') ? undefined : MODEL),
      doorkeeper: new Doorkeeper({
        address: new ClientAddress(new BlockList()),
        guard: new IngressGuard({ asks: () => true, clock: systemClock }),
        clientOf: clientFinder([]),
        identities: {
          whoIs(one) {
            presented.push(one)
            if (isSigned(one)) return whoSigned(one, keyOf, systemClock.nowMs())
            return { kind: 'denied', refusal: { code: 'no-credentials', message: 'Missing Authentication Token' } }
          },
        },
      }),
      maxWaitMs: () => 1_000,
      clientsShare: () => false,
      maxBodyBytes: 32 * 1024 * 1024,
      newId: () => '00000000-0000-0000-0000-000000000000',
      stallTimeoutMs: 5_000,
      clock: systemClock,
      loop: new LoopDelay(60_000),
      receiving: new Receiving(stage('receive'), systemClock),
      identifying: stage('identify'),
      pricing,
      refused: refusal => refusals.push(refusal),
    },
    readiness: () => ({ status: 'ready', parts: {} }),
    status: async () => ({}),
    metrics: async () => ({ contentType: 'text/plain', text: '' }),
    fault(error) {
      throw error
    },
  })
  await app.listen({ host: '127.0.0.1', port: 0 })
  const { port } = app.server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    presented,
    invocations,
    refusals,
    async close() {
      app.server.closeAllConnections()
      await app.close()
      await pricing.close()
    },
  }
}
