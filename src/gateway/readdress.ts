// The same request, asked of another model: its id takes the first one's place, in the path or in the body, and no other byte
// changes. So a body must be one that both models read: Converse's, or the same provider's.
import { idToAskBy, type ModelSettings } from '../domain/model.ts'
import { rewriteModelId } from '../wire/modelIdRewrite.ts'
import type { Invocation } from './ports.ts'

/** Undefined when there is no id to ask it by. `place` tells its tickets from those of other tries. */
export function readdressed(
  invocation: Invocation,
  model: ModelSettings,
  place: number,
  maxWaitMs: number,
): Invocation | undefined {
  const modelId = idToAskBy(model)
  if (modelId === undefined) return undefined
  const { request } = invocation
  return {
    ...invocation,
    id: `${invocation.id}-${place}`,
    model,
    maxWaitMs,
    refuseWhenShut: true,
    request: { ...request, modelId, ...rewriteModelId(request, request.operation, modelId) },
  }
}
