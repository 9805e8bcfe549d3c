// A placeholder for an answer that Bedrock did not give: what an operation's clients decode, streams included, with a text that
// is given. It calls no tool, and says it took no tokens, because it took none.
import { crc32 } from 'node:zlib'
import type { Operation } from '../wire/operations.ts'
import { CARRIERS, type Carrier } from './carriers.ts'
import { Names, seededDice } from './dice.ts'
import { knownFormat } from './formats/choose.ts'
import type { Completion, Format } from './formats/format.ts'
import { isObject, parseJson } from './json.ts'
import { streams } from './modelCall.ts'
import { headers } from './replies.ts'
import { wholeBody } from './wholeAnswer.ts'

export interface MockAsk {
  operation: Operation
  modelId: string
  body: Buffer
  requestId: string
  nowMs: number
}

/** Models that answer with no text: vectors, pictures, sound, an order. */
const NOT_TEXT = /embed|image|canvas|reel|sonic|rerank|stability\.|luma\.|twelvelabs\./
const NO_USAGE = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 }

/** Undefined where a text would be no answer, or nobody can say in which shape: an unknown provider's InvokeModel. */
export function mockReply(ask: MockAsk, text: string): { status: number; headers: string[]; body: Buffer } | undefined {
  const { operation, modelId, requestId, nowMs } = ask
  const parsed = parseJson(ask.body)
  if (NOT_TEXT.test(modelId) || !parsed || !isObject(parsed.value)) return undefined
  const format = knownFormat(operation.name, modelId, parsed.value)
  if (!format) return undefined
  const dice = seededDice(crc32(requestId))
  const completion: Completion = {
    modelId,
    body: parsed.value,
    answer: { pieces: text.split(/(?<=\s)(?=\S)/), stop: 'end' },
    usage: NO_USAGE,
    marksCache: false,
    tellsCache: false,
    requestId,
    startedAtMs: nowMs,
    names: new Names(dice),
    dice,
    latency: () => ({ invocationMs: 0, firstByteMs: 0 }),
  }
  const carrier = streams(operation, parsed.value) ? CARRIERS[operation.name] : undefined
  const body = carrier ? streamBody(format, carrier, completion) : wholeBody(format, completion)
  const particular = [...(carrier?.headers ?? []), 'Content-Length', String(body.length)]
  const type = carrier?.contentType ?? 'application/json'
  return { status: 200, headers: headers({ requestId }, nowMs, type, particular), body }
}

function streamBody(format: Format, carrier: Carrier, completion: Completion): Buffer {
  const events = Array.from(format.stream(completion), event => carrier.event(event, completion))
  return Buffer.concat(carrier.ending ? [...events, carrier.ending] : events)
}
