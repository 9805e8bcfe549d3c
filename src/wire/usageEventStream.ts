// Usage out of a Bedrock event stream: ConverseStream says it in its `metadata` event, InvokeModelWithResponseStream in
// the last of its `chunk` events, inside base64. Payloads that cannot say it are not parsed.
import type { Usage } from '../domain/charge.ts'
import { createFrameSplitter } from './eventStream.ts'
import { headerIs, headerText } from './eventStreamHeaders.ts'
import { isJsonObject } from './json.ts'
import type { OperationName } from './operations.ts'
import { parsedNumbers } from './usageBody.ts'
import { createMessagesUsage } from './usageMessages.ts'
import { bufferOver, type UsageReader } from './usageReader.ts'
import { usageOfInvocationMetrics, usageOfObject } from './usageShapes.ts'

const METRICS = 'amazon-bedrock-invocationMetrics'
/** How every chunk payload of Bedrock's begins: its keys are in alphabetical order. */
const BYTES_KEY = Buffer.from('{"bytes":"')
const QUOTE = 0x22

/** A stream that is cut, or ends in an exception, before its counts gives none. */
export function createEventStreamUsageReader(operationName: OperationName): UsageReader {
  const usageEvent = operationName === 'ConverseStream' ? 'metadata' : 'chunk'
  const messages = createMessagesUsage()
  let usage: Usage | undefined
  let exception: string | undefined

  const splitter = createFrameSplitter({
    wants: (bytes, start, end) =>
      headerIs(bytes, start, end, ':event-type', usageEvent) || !headerIs(bytes, start, end, ':message-type', 'event'),
    frame(bytes, headersStart, headersEnd, payloadEnd) {
      if (!headerIs(bytes, headersStart, headersEnd, ':event-type', usageEvent)) {
        exception ??=
          headerText(bytes, headersStart, headersEnd, ':exception-type') ??
          headerText(bytes, headersStart, headersEnd, ':error-code')
      } else if (usageEvent === 'metadata') {
        const metadata = parsedNumbers(bytes.subarray(headersEnd, payloadEnd))
        if (isJsonObject(metadata)) usage = usageOfObject(metadata.usage) ?? usage
      } else {
        const json = chunkJson(bytes, headersEnd, payloadEnd)
        if (!json.includes(METRICS) && !json.includes('"message_')) return
        const event = parsedNumbers(json)
        if (!isJsonObject(event)) return
        usage = usageOfInvocationMetrics(event[METRICS]) ?? usage
        messages.see(event)
      }
    },
  })

  return {
    push: chunk => splitter.push(bufferOver(chunk)),
    end: () => usage ?? messages.final(),
    exception: () => exception,
  }
}

/** The model's JSON inside a chunk payload; empty when there is none. */
function chunkJson(bytes: Buffer, start: number, end: number): Buffer {
  const base64 = start + BYTES_KEY.length
  if (base64 < end && bytes.compare(BYTES_KEY, 0, BYTES_KEY.length, start, base64) === 0) {
    const close = bytes.indexOf(QUOTE, base64)
    return close < 0 || close >= end ? EMPTY : Buffer.from(bytes.toString('latin1', base64, close), 'base64')
  }
  const payload = parsedNumbers(bytes.subarray(start, end))
  return isJsonObject(payload) && typeof payload.bytes === 'string' ? Buffer.from(payload.bytes, 'base64') : EMPTY
}

const EMPTY = Buffer.alloc(0)
