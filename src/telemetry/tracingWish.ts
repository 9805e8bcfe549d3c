// What OpenTelemetry's own environment variables ask of tracing. What they ask for and is not known here is said, and is no
// reason not to start.

export type Variables = Record<string, string | undefined>

/** What the variables come to: how to trace, if at all, and what there is to say about them. */
export interface Wish {
  /** Undefined: not at all. */
  tracing: { endpoint: string; propagates: boolean } | undefined
  warnings: string[]
}

const DEFAULT_ENDPOINT = 'http://localhost:4318'
const PROTOCOL = 'http/protobuf'
const PROPAGATORS = ['tracecontext', 'baggage', 'none']

export function wishOf(variables: Variables): Wish {
  // Blank is as good as unset (OpenTelemetry's rule).
  const read = (name: string) => variables[name]?.trim() || undefined
  const warnings: string[] = []
  const unlike = (name: string, expected: string, found: string, then: string) =>
    void warnings.push(`${name}: expected ${expected}, found ${found}; ${then}`)

  const ownEndpoint = read('OTEL_EXPORTER_OTLP_TRACES_ENDPOINT')
  const endpoint = ownEndpoint ?? read('OTEL_EXPORTER_OTLP_ENDPOINT')
  const exporters = listed(read('OTEL_TRACES_EXPORTER') ?? (endpoint ? 'otlp' : 'none'))
  const off = { tracing: undefined, warnings }
  if (read('OTEL_SDK_DISABLED')?.toLowerCase() === 'true') return off
  const unknown = exporters.filter(one => one !== 'otlp' && one !== 'none')
  const isOn = exporters.includes('otlp')
  const rest = isOn ? 'traces go to otlp alone' : 'nothing is traced'
  if (unknown.length > 0) unlike('OTEL_TRACES_EXPORTER', 'otlp or none', unknown.join(','), rest)
  if (!isOn) return off

  const protocolName = read('OTEL_EXPORTER_OTLP_TRACES_PROTOCOL')
    ? 'OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'
    : 'OTEL_EXPORTER_OTLP_PROTOCOL'
  const protocol = read(protocolName) ?? PROTOCOL
  if (protocol !== PROTOCOL) {
    unlike(protocolName, PROTOCOL, protocol, 'nothing is traced')
    return off
  }
  const shown = withoutSecrets(endpoint ?? DEFAULT_ENDPOINT)
  if (endpoint && !isHttpUrl(endpoint)) {
    const name = ownEndpoint ? 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT' : 'OTEL_EXPORTER_OTLP_ENDPOINT'
    unlike(name, 'an http or https URL', shown, 'nothing is traced')
    return off
  }
  const propagators = listed(read('OTEL_PROPAGATORS') ?? 'tracecontext,baggage')
  const foreign = propagators.filter(one => !PROPAGATORS.includes(one))
  if (foreign.length > 0) unlike('OTEL_PROPAGATORS', PROPAGATORS.join(', '), foreign.join(','), 'it is left out')
  return { tracing: { endpoint: shown, propagates: propagators.includes('tracecontext') }, warnings }
}

function listed(text: string): string[] {
  return text.split(',').map(one => one.trim().toLowerCase())
}

function isHttpUrl(text: string): boolean {
  return /^https?:$/.test(URL.parse(text)?.protocol ?? '')
}

/** What in an URL may be a secret, a password or a query, is nobody's who reads the log. */
export function withoutSecrets(text: string): string {
  return text.replace(/\S*@/g, '…@').replace(/\?\S*/g, '?…')
}
