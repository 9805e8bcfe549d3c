// Real Bedrock responses recorded by others (../shared/data/README.md), and what they cost by an independent decode:
// AWS's own event-stream codec, JSON.parse and the fields by name.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { EventStreamCodec } from '@smithy/core/event-streams'
import { parse } from 'yaml'
import type { Usage } from '../../src/domain/charge.ts'

const FOLDER = new URL('../../../shared/data/bedrock-recordings/', import.meta.url)

export const RECORDINGS_MISSING = existsSync(FOLDER) ? false : `no recordings at ${FOLDER.pathname}`

export interface Recording {
  title: string
  path: string
  status: number
  body: Buffer
  requestBody: string
  /** In the order recorded; a repeated header as often as it was. */
  headers: [name: string, value: string][]
  header(lowerCaseName: string): string | undefined
}

interface Cassette {
  interactions: {
    request: { uri: string; body: string | null }
    response: {
      status: { code: number }
      headers: Record<string, string | string[]>
      body: { string: string | Uint8Array }
    }
  }[]
}

export function loadRecordings(): Recording[] {
  if (RECORDINGS_MISSING) return []
  const files = readdirSync(FOLDER).filter(file => file.endsWith('.yaml'))
  return files.flatMap(file => {
    const cassette = parse(readFileSync(new URL(file, FOLDER), 'utf8')) as Cassette
    return cassette.interactions.map(({ request, response }, i) => {
      const headers = new Map(Object.entries(response.headers).map(([name, value]) => [name.toLowerCase(), value]))
      return {
        title: `${file}#${i}`,
        path: new URL(request.uri).pathname,
        status: response.status.code,
        body: bytesOf(response.body.string),
        requestBody: request.body ?? '',
        headers: Object.entries(response.headers).flatMap(([name, values]) =>
          [values].flat().map((value): [string, string] => [name, value]),
        ),
        header: (name: string) => [headers.get(name) ?? []].flat()[0],
      }
    })
  })
}

/** A body is text, or bytes under `!!binary`. */
export function bytesOf(body: string | Uint8Array): Buffer {
  return typeof body === 'string' ? Buffer.from(body) : Buffer.from(body)
}

const codec = new EventStreamCodec(
  bytes => bytesOf(bytes).toString('utf8'),
  text => Buffer.from(text, 'utf8'),
)

/** One frame as Bedrock writes it; `headers` in the order given. */
export function encodeFrame(headers: Record<string, string>, body: string): Buffer {
  const typed = Object.entries(headers).map(([name, value]) => [name, { type: 'string' as const, value }])
  return Buffer.from(codec.encode({ headers: Object.fromEntries(typed), body: Buffer.from(body) }))
}

export function encodeEvent(eventType: string, payload: unknown): Buffer {
  const headers = { ':event-type': eventType, ':content-type': 'application/json', ':message-type': 'event' }
  return encodeFrame(headers, JSON.stringify(payload))
}

export function encodeChunk(modelEvent: unknown): Buffer {
  return encodeEvent('chunk', { bytes: Buffer.from(JSON.stringify(modelEvent)).toString('base64'), p: 'abcdefg' })
}

/** Every event of a stream, its base64 undone, checksums verified by the codec. */
export function decodeEvents(stream: Buffer): Record<string, unknown>[] {
  const events: Record<string, unknown>[] = []
  for (let at = 0; at < stream.length; at += stream.readUInt32BE(at)) {
    const message = codec.decode(stream.subarray(at, at + stream.readUInt32BE(at)))
    const payload = JSON.parse(Buffer.from(message.body).toString('utf8'))
    events.push(payload.bytes === undefined ? payload : JSON.parse(Buffer.from(payload.bytes, 'base64').toString()))
  }
  return events
}

/** What the recording shows; throws when it shows nothing, so that no test passes by finding nothing. */
export function usageShown(recording: Recording): Usage {
  const count = (name: string) => Number(recording.header(`x-amzn-bedrock-${name}-token-count`) ?? 0)
  if (recording.header('x-amzn-bedrock-output-token-count') !== undefined)
    return {
      inputTokens: count('input'),
      outputTokens: count('output'),
      cacheReadTokens: count('cache-read-input'),
      cacheWriteTokens: count('cache-write-input'),
    }
  const isStream = recording.header('content-type') === 'application/vnd.amazon.eventstream'
  const last = isStream ? decodeEvents(recording.body).at(-1) : JSON.parse(recording.body.toString('utf8'))
  const counts = last['amazon-bedrock-invocationMetrics'] ?? last.usage
  const shown = {
    inputTokens: counts.inputTokens ?? counts.inputTokenCount,
    outputTokens: counts.outputTokens ?? counts.outputTokenCount,
    cacheReadTokens: counts.cacheReadInputTokens ?? counts.cacheReadInputTokenCount ?? 0,
    cacheWriteTokens: counts.cacheWriteInputTokens ?? counts.cacheWriteInputTokenCount ?? 0,
  }
  if (!(shown.inputTokens > 0) || !(shown.outputTokens > 0)) throw new Error(`${recording.title} shows no usage`)
  return shown
}
