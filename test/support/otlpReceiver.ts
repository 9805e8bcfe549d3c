// A collector as OpenTelemetry's exporter sees one: takes traces by OTLP over HTTP, in protobuf, and keeps them as they came
// (field numbers of opentelemetry/proto/trace/v1/trace.proto).
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { Message } from './protobuf.ts'

export interface ReceivedSpan {
  traceId: string
  spanId: string
  /** '' at a trace's root. */
  parentId: string
  name: string
  kind: 'internal' | 'server' | 'client' | undefined
  startMs: number
  endMs: number
  attributes: Record<string, unknown>
  isError: boolean
  resource: Record<string, unknown>
}

export interface OtlpReceiver {
  url: string
  /** In the order they began. */
  spans(): ReceivedSpan[]
  /** Paths of the exports, and their bytes as they came. */
  exports: { path: string; body: Buffer }[]
  close(): Promise<void>
}

const KINDS = [undefined, 'internal', 'server', 'client'] as const
const ERROR = 2

/** `status`: what it answers every export with. */
export async function startOtlpReceiver(status = 200): Promise<OtlpReceiver> {
  const exports: OtlpReceiver['exports'] = []
  const server = http.createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', chunk => chunks.push(chunk))
    request.on('end', () => {
      exports.push({ path: request.url!, body: Buffer.concat(chunks) })
      response.writeHead(status, { 'content-type': 'application/x-protobuf' }).end()
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    exports,
    spans: () => exports.flatMap(one => spansOf(one.body)).sort((a, b) => a.startMs - b.startMs),
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

function spansOf(body: Buffer): ReceivedSpan[] {
  return new Message(body).messages(1).flatMap(ofResource => {
    const resource = attributesOf(ofResource.messages(1)[0]!, 1)
    return ofResource
      .messages(2)
      .flatMap(ofScope => ofScope.messages(2))
      .map(span => ({
        traceId: span.hex(1),
        spanId: span.hex(2),
        parentId: span.hex(4),
        name: span.text(5),
        kind: KINDS[span.integer(6) ?? 0],
        startMs: milliseconds(span.bytes(7)!),
        endMs: milliseconds(span.bytes(8)!),
        attributes: attributesOf(span, 9),
        isError: span.messages(15)[0]?.integer(3) === ERROR,
        resource,
      }))
  })
}

function milliseconds(nanoseconds: Buffer): number {
  return Number(nanoseconds.readBigUInt64LE() / 1_000_000n)
}

function attributesOf(of: Message, field: number): Record<string, unknown> {
  return Object.fromEntries(of.messages(field).map(pair => [pair.text(1), plainValue(pair.messages(2)[0]!)]))
}

/** A text, a truth or a number; all that is sent here. */
function plainValue(value: Message): unknown {
  const truth = value.integer(2)
  if (truth !== undefined) return truth === 1
  return value.integer(3) ?? value.bytes(4)?.readDoubleLE() ?? value.text(1)
}
