// A pool may serve a model under an id of its own (an inference profile of another Region). Only the id's bytes change:
// prompt caches match on bytes.

import { topLevelText } from './jsonBytes.ts'
import { encodeId, type Operation } from './operations.ts'

interface Addressed {
  rawUrl: string
  body: Buffer
}

/** The request with the model's id replaced where the operation has it. */
export function rewriteModelId({ rawUrl, body }: Addressed, operation: Operation, modelId: string): Addressed {
  if (operation.modelIn === 'path') return { rawUrl: rewritePath(rawUrl, modelId), body }
  if (operation.modelIn === 'nowhere') return { rawUrl, body }
  const key = operation.name === 'StartAsyncInvoke' ? 'modelId' : 'model'
  return { rawUrl, body: rewriteBody(body, key, modelId) }
}

/** The raw URL with the id segment replaced: /model/{id}/operation. */
export function rewritePath(rawUrl: string, modelId: string): string {
  const segments = rawUrl.split('/')
  segments[2] = encodeId(modelId)
  return segments.join('/')
}

/** The body with the text under its top-level `key` replaced; as it is when it has none. */
export function rewriteBody(body: Buffer, key: string, modelId: string): Buffer {
  const place = topLevelText(body, key)
  if (!place) return body
  return Buffer.concat([body.subarray(0, place.start), Buffer.from(JSON.stringify(modelId)), body.subarray(place.end)])
}
