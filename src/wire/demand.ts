// What a request will take, read from its body before it is admitted: how much the model must read, how much it may
// answer. The body is parsed once and travels on as the bytes that came.
import { readOutputCap } from './demandCap.ts'
import { type Steps, stepsOfOneBody } from './demandJpeg.ts'
import { findMedia, type Media } from './demandMedia.ts'
import { kindOf, parseObject } from './json.ts'
import { isRepeated } from './jsonBytes.ts'
import {
  audioTokens,
  decodedBytes,
  imageTokens,
  pdfTokens,
  UNKNOWN_AUDIO_TOKENS,
  UNKNOWN_DOCUMENT_TOKENS,
  UNKNOWN_IMAGE_TOKENS,
  UNKNOWN_VIDEO_TOKENS,
  videoTokens,
} from './media.ts'
import type { Operation } from './operations.ts'

export interface Demand {
  /** UTF-8 bytes the model reads as text: the body without its base64, and what a text document decodes to. */
  textBytes: number
  /** Tokens of images, PDFs, video and sound, estimated. */
  mediaTokens: number
  /** Output tokens of all answers together. Absent: the request sets no cap. */
  outputCap?: number
  /** Answers asked for. `outputCap` counts them; a default cap put in its place must be multiplied by this. */
  answers: number
  /** Only of operations whose model is named in the body. */
  modelId?: string
}

export type DemandResult = { kind: 'ok'; demand: Demand } | { kind: 'malformed'; message: string }

/** Bedrock's own bound on a modelId (botocore's pattern). */
const MAX_MODEL_ID_CHARS = 2048

/**
 * Of an unmetered operation nothing is read and all is text, and so of InvokeModel's blob when it is empty: Bedrock refuses
 * that itself, in its own order (recorded: a wrong modelId first). Messages name fields and kinds, never what the body says.
 */
export function readDemand(operation: Operation, body: Buffer): DemandResult {
  if (!operation.metered || (body.length === 0 && operation.name.startsWith('InvokeModel')))
    return {
      kind: 'ok',
      demand: {
        textBytes: body.length,
        mediaTokens: 0,
        answers: 1,
      },
    }
  const parsed = parseObject(body)
  if (typeof parsed === 'string') return malformed(`expected a JSON object, found ${parsed}`)
  const cap = readOutputCap(operation.name, parsed)
  if ('field' in cap) return malformed(`expected a whole number in '${cap.field}', found ${cap.found}`)
  const media = mediaCost(findMedia(parsed))
  const demand: Demand = {
    textBytes: body.length + media.textBytes,
    mediaTokens: media.tokens,
    answers: cap.answers,
  }
  if (cap.tokens !== undefined) demand.outputCap = cap.tokens
  if (operation.modelIn === 'body') {
    const field = operation.name === 'StartAsyncInvoke' ? 'modelId' : 'model'
    const modelId = parsed[field]
    if (typeof modelId !== 'string' || modelId === '')
      return malformed(`expected a model's id in '${field}', found ${kindOf(modelId)}`)
    // What may be asked for, and what is charged, goes by the one that is read here; Bedrock may read the other.
    if (isRepeated(body, field)) return malformed(`expected '${field}' once, found it again`)
    if (modelId.length > MAX_MODEL_ID_CHARS)
      return malformed(`expected at most ${MAX_MODEL_ID_CHARS} characters in '${field}', found ${modelId.length}`)
    demand.modelId = Buffer.from(modelId, 'latin1').toString('utf8')
  }
  return { kind: 'ok', demand }
}

function malformed(what: string): DemandResult {
  return { kind: 'malformed', message: `Malformed input request: ${what}.` }
}

/** `textBytes` is what the media adds to the body's text: minus its base64, plus a text document's own bytes. */
function mediaCost(found: Media[]): { tokens: number; textBytes: number } {
  let tokens = 0
  let textBytes = 0
  const steps = stepsOfOneBody()
  for (const media of found) {
    textBytes -= media.base64?.length ?? 0
    if (media.base64 === undefined) tokens += UNKNOWN_TOKENS[media.kind]
    else if (media.kind === 'document' && !isPdf(media.format, media.base64)) textBytes += decodedBytes(media.base64)
    else tokens += tokensOf(media.kind, media.base64, steps)
  }
  return { tokens, textBytes }
}

const UNKNOWN_TOKENS = {
  image: UNKNOWN_IMAGE_TOKENS,
  document: UNKNOWN_DOCUMENT_TOKENS,
  video: UNKNOWN_VIDEO_TOKENS,
  audio: UNKNOWN_AUDIO_TOKENS,
}

function tokensOf(kind: Media['kind'], base64: string, steps: Steps): number {
  if (kind === 'image') return imageTokens(base64, steps)
  const bytes = decodedBytes(base64)
  if (kind === 'document') return pdfTokens(bytes)
  return kind === 'video' ? videoTokens(bytes) : audioTokens(bytes)
}

/** By its format, else by its first bytes: '%PDF-' in base64. */
function isPdf(format: string, base64: string): boolean {
  return format === 'pdf' || format === 'application/pdf' || base64.startsWith('JVBERi0')
}
