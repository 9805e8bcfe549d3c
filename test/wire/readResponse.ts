// Feeds a response to a usage reader the way the network would: in pieces.
import { matchOperation, type Operation } from '../../src/wire/operations.ts'
import { createUsageReader, type UsageReader } from '../../src/wire/usage.ts'
import { bytesOf } from './recordings.ts'

export function operationOf(path: string, method = 'POST'): Operation {
  const match = matchOperation(method, path)
  if (match.kind !== 'found') throw new Error(`${method} ${path}: ${match.kind}`)
  return match.route.operation
}

export function contentType(value: string): (name: string) => string | undefined {
  return name => (name === 'content-type' ? value : undefined)
}

export const EVENT_STREAM = contentType('application/vnd.amazon.eventstream')
export const SERVER_SENT_EVENTS = contentType('text/event-stream; charset=utf-8')
export const JSON_BODY = contentType('application/json')

/** Pushes `body` cut at `cuts` (any order, any repeats). */
export function feed(reader: UsageReader, body: Uint8Array, cuts: number[] = []): ReturnType<UsageReader['end']> {
  let from = 0
  for (const to of [...cuts.filter(cut => cut < body.length).sort((a, b) => a - b), body.length]) {
    reader.push(body.slice(from, to))
    from = to
  }
  return reader.end()
}

export function readUsage(path: string, header: (name: string) => string | undefined, body: string | Uint8Array) {
  return feed(createUsageReader(operationOf(path), header), bytesOf(body))
}
