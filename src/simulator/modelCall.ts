// What a metered call asks for: the model, the body, the format of its answer, the length of its prompt and its cap.

import type { Operation } from '../wire/operations.ts'
import { readCap } from './answer.ts'
import type { Call } from './call.ts'
import { CARRIERS, type Carrier } from './carriers.ts'
import { chooseFormat } from './formats/choose.ts'
import type { Format } from './formats/format.ts'
import { at, isObject, type JsonObject, parseJson, textAt } from './json.ts'
import { type Prompt, readPrompt } from './prompt.ts'
import { isRefusal, MALFORMED, type Refusal, refusal, UNKNOWN_MODEL } from './refusal.ts'

export interface ModelCall {
  modelId: string
  body: JsonObject
  format: Format
  /** Undefined: the answer goes whole. */
  carrier: Carrier | undefined
  prompt: Prompt
  capTokens: number | undefined
}

/** provider.name, with a geo prefix or a version or neither; or an ARN. */
const MODEL_ID = /^[\w-]+(\.[\w-]+)+(:[\w-]+)*$/
const MODEL_ARN = /^arn:aws[\w-]*:(bedrock|sagemaker):/

export function isModelId(modelId: string): boolean {
  return MODEL_ID.test(modelId) || MODEL_ARN.test(modelId)
}

/** Bedrock looks at the modelId before the body. */
export function readModelCall(call: Call): ModelCall | Refusal {
  const { operation, id } = call
  if (operation.modelIn === 'path' && !isModelId(id ?? '')) return UNKNOWN_MODEL
  const body = readBody(call)
  if (isRefusal(body)) return body
  const modelId =
    operation.modelIn === 'path' ? id : textAt(body, operation.dialect === 'bedrock' ? 'modelId' : 'model')
  if (modelId === undefined || !isModelId(modelId)) return UNKNOWN_MODEL
  if (operation.name.startsWith('Converse') && !Array.isArray(body.messages) && !modelId.includes(':prompt/'))
    return MALFORMED
  const cap = readCap(body)
  if ('field' in cap)
    return refusal('ValidationException', `Malformed input request: ${cap.field} must be a whole number above 0.`)
  const format = chooseFormat(operation.name, modelId, body)
  const carrier = streams(operation, body) ? CARRIERS[operation.name] : undefined
  if (carrier && !format.writesText) return refusal('ValidationException', 'The model is unsupported for streaming.')
  return { modelId, body, format, carrier, prompt: readPrompt(body), capTokens: cap.tokens }
}

export function readBody(call: Call): JsonObject | Refusal {
  const parsed = parseJson(call.request.body)
  return parsed && isObject(parsed.value) ? parsed.value : MALFORMED
}

/** Bedrock's own streams have a path of their own; OpenAI's and Anthropic's are asked for in the body. */
export function streams(operation: Operation, body: JsonObject): boolean {
  return operation.modelIn === 'path' || at(body, 'stream') === true
}
