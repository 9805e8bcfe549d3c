// Tracing of a process as its users start it: off by default, and then nothing of OpenTelemetry's SDK is loaded; on by the standard
// variables, and then sent before the process goes.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { startChildSluice } from '../support/childSluice.ts'
import { startOtlpReceiver } from '../support/otlpReceiver.ts'
import { oneModel } from '../support/sluice.ts'
import { callHttp1 } from '../support/wire.ts'

const TELL = { NODE_OPTIONS: `--import=${new URL('../support/tellModules.ts', import.meta.url)}` }
const YAML = oneModel('simulator', '', 'simulator: { latency: { firstTokenMs: 0, perTokenMs: 0, jitter: 0 } }')

let receiver: Awaited<ReturnType<typeof startOtlpReceiver>>
before(async () => {
  receiver = await startOtlpReceiver()
})
after(() => receiver.close())

/** One call, and then the process is told to go. */
async function oneCall(otel: Record<string, string>): Promise<string> {
  const child = await startChildSluice(YAML, { ...TELL, ...otel })
  const reply = await callHttp1(child.url, { headers: { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` } })
  assert.equal(reply.status, 200, reply.body.toString())
  child.process.kill('SIGTERM')
  assert.equal(await child.exited, 0)
  return child.output()
}

test("without the standard variables nothing of OpenTelemetry's SDK is loaded", async () => {
  assert.doesNotMatch(await oneCall({}), /^loaded/m)
})

test('no variable that speaks of something else loads it', async () => {
  assert.doesNotMatch(await oneCall({ OTEL_SERVICE_NAME: 'x', OTEL_TRACES_SAMPLER: 'always_on' }), /^loaded/m)
})

test('a protocol that is not spoken is said, and the process serves untraced', async () => {
  const output = await oneCall({ OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' })
  assert.match(output, /OTEL_EXPORTER_OTLP_PROTOCOL: expected http\/protobuf, found grpc; nothing is traced/)
  assert.doesNotMatch(output, /^loaded/m)
})

test('with them it is loaded, and what has not been sent is sent before the process goes', async () => {
  const otel = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_BSP_SCHEDULE_DELAY: '3600000' }
  assert.match(await oneCall(otel), /loaded file:.*@opentelemetry\/sdk-trace-base/)
  assert.deepEqual([...new Set(receiver.spans().map(span => span.traceId))], ['a'.repeat(32)])
  assert.equal(receiver.spans().length, 3)
})
