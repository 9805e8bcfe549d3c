// A pool may serve a model under an id of its own (an inference profile of another Region). Only the id's bytes change.
import { encodeId, type Operation } from '../wire/operations.ts'

/** The raw URL with the id segment replaced: /model/{id}/operation. */
export function rewritePath(rawUrl: string, modelId: string): string {
  const segments = rawUrl.split('/')
  segments[2] = encodeId(modelId)
  return segments.join('/')
}

/**
 * The body with the value of its top-level `model` (or `modelId`) replaced, every other byte kept: prompt caches match on
 * bytes. A nested key of the same name and value is told apart by parsing the result; the body is returned as it is when
 * no top-level value matched.
 */
export function rewriteBody(body: Buffer, from: string, modelId: string): Buffer {
  const text = body.toString('utf8')
  const value = JSON.stringify(from).replace(/[\\^$.|?+*()[\]{}]/g, '\\$&')
  for (const match of text.matchAll(new RegExp(`"(model|modelId)"\\s*:\\s*(${value})`, 'g'))) {
    const start = match.index + match[0].length - match[2]!.length
    const rewritten = text.slice(0, start) + JSON.stringify(modelId) + text.slice(start + match[2]!.length)
    if (JSON.parse(rewritten)[match[1]!] === modelId) return Buffer.from(rewritten)
  }
  return body
}

export function rewrite(
  request: { rawUrl: string; body: Buffer },
  operation: Operation,
  from: string,
  modelId: string,
) {
  if (operation.modelIn === 'path') return { rawUrl: rewritePath(request.rawUrl, modelId), body: request.body }
  if (operation.modelIn === 'body') return { rawUrl: request.rawUrl, body: rewriteBody(request.body, from, modelId) }
  return { rawUrl: request.rawUrl, body: request.body }
}
