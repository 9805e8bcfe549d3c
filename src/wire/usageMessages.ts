// Usage of an Anthropic message stream: the prompt's counts come first (message_start), the output's grow with every
// message_delta, and they are final only once message_stop was seen.
import type { Usage } from '../domain/charge.ts'
import { isJsonObject, type JsonObject } from './json.ts'
import { usageOfObject } from './usageShapes.ts'

export interface MessagesUsage {
  see(event: JsonObject): void
  /** undefined unless start, delta and stop were all seen: a cut stream's counts are too low to charge by. */
  final(): Usage | undefined
}

export function createMessagesUsage(): MessagesUsage {
  let start: JsonObject | undefined
  let delta: JsonObject | undefined
  let stopped = false
  return {
    see(event) {
      if (event.type === 'message_start' && isJsonObject(event.message) && isJsonObject(event.message.usage))
        start = event.message.usage
      else if (event.type === 'message_delta' && isJsonObject(event.usage)) delta = { ...delta, ...stated(event.usage) }
      else if (event.type === 'message_stop') stopped = true
    },
    final() {
      if (!stopped || start === undefined || delta?.output_tokens === undefined) return undefined
      return usageOfObject({ ...start, ...delta })
    },
  }
}

/** Without the nulls: a delta that leaves a prompt count out must not erase the one from the start. */
function stated(usage: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(usage).filter(([, value]) => value !== null))
}
