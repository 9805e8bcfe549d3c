// How a stream's events become bytes: AWS event-stream frames for Bedrock's own operations, server-sent events for OpenAI's
// and Anthropic's. Every frame carries padding of random length, as Bedrock's do against eavesdroppers who measure.
import { EventStreamCodec } from '@smithy/core/event-streams'
import type { Dice } from '../domain/clock.ts'
import { EXCEPTION_STATUS, exceptionBody } from '../wire/exceptions.ts'
import type { OperationName } from '../wire/operations.ts'
import { wholeBetween } from './dice.ts'
import type { StreamException } from './faults.ts'
import type { Completion, StreamEvent } from './formats/format.ts'
import { type JsonObject, sortedJson } from './json.ts'

export interface Carrier {
  contentType: string
  headers: string[]
  event(event: StreamEvent, completion: Completion): Buffer
  exception(exception: StreamException): Buffer
  /** After the last event. */
  ending?: Buffer
}

const PADDING = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'
const EVENT_STREAM = 'application/vnd.amazon.eventstream'

const codec = new EventStreamCodec(
  bytes =>
    typeof bytes === 'string' ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString(),
  text => Buffer.from(text),
)

/** The headers in Bedrock's order: the type, the content type, the message type. */
function frame(kind: 'event' | 'exception', type: string, payload: string): Buffer {
  const message = {
    headers: {
      [`:${kind}-type`]: { type: 'string' as const, value: type },
      ':content-type': { type: 'string' as const, value: 'application/json' },
      ':message-type': { type: 'string' as const, value: kind },
    },
    body: Buffer.from(payload),
  }
  const bytes = codec.encode(message)
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function padded(payload: JsonObject, dice: Dice): string {
  return sortedJson({ ...payload, p: PADDING.slice(0, wholeBetween(dice, 1, PADDING.length)) })
}

const exceptionFrame = ({ type, payload }: StreamException) => frame('exception', type, JSON.stringify(payload))

const converseStream: Carrier = {
  contentType: EVENT_STREAM,
  headers: [],
  event: ({ name, payload }, { dice }) => frame('event', name, padded(payload, dice)),
  exception: exceptionFrame,
}

/** The model's own JSON in base64; the last one tells Bedrock's count of the call too. */
const invokeStream: Carrier = {
  contentType: EVENT_STREAM,
  headers: ['X-Amzn-Bedrock-Content-Type', 'application/json'],
  event: ({ payload, last }, completion) => {
    const metrics = last ? { 'amazon-bedrock-invocationMetrics': invocationMetrics(completion) } : {}
    const bytes = Buffer.from(JSON.stringify({ ...payload, ...metrics })).toString('base64')
    return frame('event', 'chunk', padded({ bytes }, completion.dice))
  },
  exception: exceptionFrame,
}

function invocationMetrics(completion: Completion): JsonObject {
  const { usage, tellsCache } = completion
  const { invocationMs, firstByteMs } = completion.latency()
  const cached = { cacheReadInputTokenCount: usage.cacheReadTokens, cacheWriteInputTokenCount: usage.cacheWriteTokens }
  return {
    inputTokenCount: usage.inputTokens,
    outputTokenCount: usage.outputTokens,
    invocationLatency: invocationMs,
    firstByteLatency: firstByteMs,
    ...(tellsCache && cached),
  }
}

function serverSent(dialect: 'openai' | 'anthropic', named: boolean, ending?: string): Carrier {
  const write = (name: string, json: string) => Buffer.from(`${named ? `event: ${name}\n` : ''}data: ${json}\n\n`)
  return {
    contentType: 'text/event-stream; charset=utf-8',
    headers: ['Cache-Control', 'no-cache'],
    event: ({ name, payload }) => write(name, JSON.stringify(payload)),
    exception: ({ name, payload }) =>
      write('error', exceptionBody(dialect, EXCEPTION_STATUS[name], name, payload.message)),
    ...(ending !== undefined && { ending: Buffer.from(ending) }),
  }
}

/** By operation; the three last stream only when their body asks for it. */
export const CARRIERS: Partial<Record<OperationName, Carrier>> = {
  ConverseStream: converseStream,
  InvokeModelWithResponseStream: invokeStream,
  ChatCompletions: serverSent('openai', false, 'data: [DONE]\n\n'),
  Responses: serverSent('openai', true),
  Messages: serverSent('anthropic', true),
}
