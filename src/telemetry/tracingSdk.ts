// OpenTelemetry's SDK as it is set up here: spans are kept in a bounded queue and sent in batches to a collector, by OTLP
// over HTTP. A collector that is away costs spans, never a request. Loaded only where something is traced.
import { DiagLogLevel, diag } from '@opentelemetry/api'
import { setGlobalErrorHandler, W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  defaultResource,
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { Clock } from '../domain/clock.ts'
import type { RefusalCode } from '../domain/refusal.ts'
import type { Tracer } from '../gateway/traced.ts'
import type { Logger } from './log.ts'
import { SpanTracer } from './tracingSpans.ts'
import { withoutSecrets } from './tracingWish.ts'

export interface Tracing {
  tracer: Tracer
  /** Sends what has not been sent yet, within FLUSH_MS. Never rejects. */
  close(): Promise<void>
}

export interface TracingNeeds {
  log: Logger
  clock: Clock
  /** Sluice's own. */
  version: string
  /** Tells this process from its like, unless OTEL_RESOURCE_ATTRIBUTES does. */
  instanceId: string
  /** What clients are told with a refusal. */
  statusOf: (code: RefusalCode) => number
}

/** How long a stop waits for the collector. */
const FLUSH_MS = 5_000
/** Between two lines of the log about traces that could not be sent. */
const QUIET_MS = 60_000
const LONGEST_COMPLAINT = 300

/** `propagates`: the client's trace goes on here, and at the far side. */
export function buildTracing(propagates: boolean, needs: TracingNeeds): Tracing {
  const { clock, log, statusOf } = needs
  const complaints = new Complaints(clock, (warning, more) => log.warn({ warning, more }, 'tracing'))
  listen(complaints)
  // The sampler, the limits of spans, the queue's and the exporter's settings are read from OTEL_* by their own classes.
  const provider = new BasicTracerProvider({
    resource: resourceOf(needs, complaints),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
  })
  complaints.calmDown()
  const propagator = propagates ? new W3CTraceContextPropagator() : undefined
  return {
    tracer: new SpanTracer({ tracer: provider.getTracer('sluice'), propagator, clock, statusOf }),
    async close() {
      // What the stop has cut short ends in this turn of the event loop, and its spans with it.
      await new Promise<void>(resolve => clock.after(0, resolve))
      const isFlushed = await within(clock, FLUSH_MS, provider.shutdown())
      if (!isFlushed) log.warn({ warning: 'the last traces could not be sent' }, 'tracing')
    },
  }
}

/** OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over what we say of ourselves. */
function resourceOf({ version, instanceId }: TracingNeeds, complaints: Complaints): Resource {
  const named = detectResources({ detectors: [envDetector] })
  if (process.env.OTEL_RESOURCE_ATTRIBUTES?.trim() && Object.keys(named.attributes).length === 0)
    complaints.tell('OTEL_RESOURCE_ATTRIBUTES: expected name=value,name=value, found something else; it is left out')
  const ours = { 'service.name': 'sluice', 'service.version': version, 'service.instance.id': instanceId }
  return defaultResource().merge(resourceFromAttributes(ours)).merge(named)
}

/** What the SDK has to say goes to our log. An error's message alone: its other properties may hold what a collector answered. */
function listen(complaints: Complaints): void {
  const tell = (message: string) => complaints.tell(message)
  const nothing = () => {}
  const logger = { error: tell, warn: tell, info: nothing, debug: nothing, verbose: nothing }
  diag.setLogger(logger, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true })
  setGlobalErrorHandler(error => {
    const { message, code } =
      typeof error === 'string'
        ? { message: error, code: undefined }
        : { code: undefined, ...error, message: error.message }
    tell(['traces could not be sent', message, code].filter(Boolean).join(': '))
  })
}

/** While all is being set up each is told; afterwards one a minute, with how many were left out. */
class Complaints {
  readonly #clock: Clock
  readonly #say: (complaint: string, leftOut: number | undefined) => void
  #isCalm = false
  #quietUntilMs = 0
  #leftOut = 0

  constructor(clock: Clock, say: (complaint: string, leftOut: number | undefined) => void) {
    this.#clock = clock
    this.#say = say
  }

  calmDown(): void {
    this.#isCalm = true
  }

  tell(message: string): void {
    const nowMs = this.#clock.nowMs()
    if (this.#isCalm && nowMs < this.#quietUntilMs) {
      this.#leftOut += 1
      return
    }
    if (this.#isCalm) this.#quietUntilMs = nowMs + QUIET_MS
    this.#say(withoutSecrets(message).slice(0, LONGEST_COMPLAINT), this.#leftOut || undefined)
    this.#leftOut = 0
  }
}

/** Whether it resolved in time. */
function within(clock: Clock, boundMs: number, work: Promise<void>): Promise<boolean> {
  return new Promise(resolve => {
    const cancel = clock.after(boundMs, () => resolve(false))
    const settled = (isDone: boolean) => {
      cancel()
      resolve(isDone)
    }
    work.then(
      () => settled(true),
      () => settled(false),
    )
  })
}
