// What OpenTelemetry's variables come to: whether anything is traced, and what is said of those that are not known.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Variables, wishOf } from '../../src/telemetry/tracingWish.ts'

const ENDPOINT = 'http://collector:4318'

const OFF: [string, Variables][] = [
  ['nothing', {}],
  ['blanks', { OTEL_TRACES_EXPORTER: ' ', OTEL_EXPORTER_OTLP_ENDPOINT: '' }],
  ['no exporter, whatever the endpoint', { OTEL_TRACES_EXPORTER: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: ENDPOINT }],
  ['no SDK, whatever else', { OTEL_SDK_DISABLED: 'True', OTEL_TRACES_EXPORTER: 'otlp' }],
  ['metrics elsewhere', { OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: ENDPOINT, OTEL_SERVICE_NAME: 'x' }],
]
for (const [what, variables] of OFF) {
  test(`nothing is traced, and nothing said, when the variables ask for ${what}`, () => {
    assert.deepEqual(wishOf(variables), { tracing: undefined, warnings: [] })
  })
}

const ON: [string, Variables, string][] = [
  ['the exporter', { OTEL_TRACES_EXPORTER: 'otlp' }, 'http://localhost:4318'],
  ['an endpoint', { OTEL_EXPORTER_OTLP_ENDPOINT: ENDPOINT }, ENDPOINT],
  [
    "the traces' own endpoint",
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${ENDPOINT}/v1/traces` },
    `${ENDPOINT}/v1/traces`,
  ],
  ['an SDK that is not disabled', { OTEL_SDK_DISABLED: 'false', OTEL_EXPORTER_OTLP_ENDPOINT: ENDPOINT }, ENDPOINT],
  [
    'the protocol that is spoken',
    { OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' },
    'http://localhost:4318',
  ],
  [
    "the traces' own protocol, whatever that of the others",
    {
      OTEL_TRACES_EXPORTER: 'otlp',
      OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/protobuf',
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    },
    'http://localhost:4318',
  ],
]
for (const [what, variables, endpoint] of ON) {
  test(`traces are sent when the variables ask for ${what}`, () => {
    assert.deepEqual(wishOf(variables), { tracing: { endpoint, propagates: true }, warnings: [] })
  })
}

const ODD: [Variables, boolean, string][] = [
  [
    { OTEL_TRACES_EXPORTER: 'zipkin' },
    false,
    'OTEL_TRACES_EXPORTER: expected otlp or none, found zipkin; nothing is traced',
  ],
  [
    { OTEL_TRACES_EXPORTER: 'otlp,console' },
    true,
    'OTEL_TRACES_EXPORTER: expected otlp or none, found console; traces go to otlp alone',
  ],
  [
    { OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    false,
    'OTEL_EXPORTER_OTLP_PROTOCOL: expected http/protobuf, found grpc; nothing is traced',
  ],
  [
    { OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json' },
    false,
    'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: expected http/protobuf, found http/json; nothing is traced',
  ],
  [
    { OTEL_EXPORTER_OTLP_ENDPOINT: 'collector:4317' },
    false,
    'OTEL_EXPORTER_OTLP_ENDPOINT: expected an http or https URL, found collector:4317; nothing is traced',
  ],
  [
    { OTEL_TRACES_EXPORTER: 'otlp', OTEL_PROPAGATORS: 'tracecontext,b3,xray' },
    true,
    'OTEL_PROPAGATORS: expected tracecontext, baggage, none, found b3,xray; it is left out',
  ],
]
for (const [variables, isOn, warning] of ODD) {
  test(`a value that is not known is said and stops nothing else: ${warning}`, () => {
    const { tracing, warnings } = wishOf(variables)
    assert.deepEqual([tracing !== undefined, warnings], [isOn, [warning]])
  })
}

test('no secret of an endpoint is shown', () => {
  const endpoints = [
    'http://me:canary@collector:4318',
    'ftp://me:can/canary@collector:4318',
    'me:canary@collector:4318',
    'https://collector:4318/v1/traces?key=canary',
  ]
  for (const endpoint of endpoints) {
    const shown = JSON.stringify(wishOf({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint }))
    assert.doesNotMatch(shown, /canary/)
    assert.match(shown, /collector:4318/)
  }
})

test('without tracecontext among the propagators no trace crosses', () => {
  const { tracing, warnings } = wishOf({ OTEL_TRACES_EXPORTER: 'otlp', OTEL_PROPAGATORS: 'none' })
  assert.deepEqual([tracing?.propagates, warnings], [false, []])
})
