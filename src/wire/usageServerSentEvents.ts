// Usage out of server-sent events: OpenAI's chat completions (the chunk whose usage is not null) and Responses (the
// event that ends it), Anthropic's messages. Each event of theirs is one `data:` line.
import type { Usage } from '../domain/charge.ts'
import { isJsonObject, type JsonObject } from './json.ts'
import { createLineSplitter } from './serverSentEvents.ts'
import { parsedNumbers } from './usageBody.ts'
import { createMessagesUsage } from './usageMessages.ts'
import { bufferOver, type UsageReader } from './usageReader.ts'
import { usageOfObject } from './usageShapes.ts'

/** The last event of a Responses stream repeats the request's instructions and tools and the whole output. */
const MAX_LINE_BYTES = 8 * 1024 * 1024

/** A stream that is cut before its counts gives none. */
export function createServerSentEventsUsageReader(): UsageReader {
  const messages = createMessagesUsage()
  let usage: Usage | undefined
  let exception: string | undefined
  let errorNext = false

  const splitter = createLineSplitter(MAX_LINE_BYTES, (bytes, start, end) => {
    if (end - start < 'data:{}'.length) return
    const text = bytes.toString('latin1', start, end)
    if (text.startsWith('event:')) errorNext = text.slice('event:'.length).trim() === 'error'
    if (!text.startsWith('data:') || !(errorNext || mayTell(text))) return
    const event = parsedNumbers(bytes.subarray(start + 'data:'.length, end))
    if (!isJsonObject(event)) return
    exception ??= errorName(event)
    usage = usageOfEvent(event) ?? usage
    messages.see(event)
  })

  return {
    push: chunk => splitter.push(bufferOver(chunk)),
    end() {
      splitter.end()
      return usage ?? messages.final()
    },
    exception: () => exception,
  }
}

/** Whether the line is worth parsing. The quotes keep out text of the model that merely mentions a key. */
function mayTell(text: string): boolean {
  return text.includes('"usage"') || text.includes('"message_stop"') || text.includes('"error"')
}

function usageOfEvent(event: JsonObject): Usage | undefined {
  if (event.type === undefined) return usageOfObject(event.usage)
  const ended = event.type === 'response.completed' || event.type === 'response.incomplete'
  return ended && isJsonObject(event.response) ? usageOfObject(event.response.usage) : undefined
}

/** Anthropic and chat completions put the error under `error`; Responses sends the error itself. */
function errorName(event: JsonObject): string | undefined {
  const error = isJsonObject(event.error) ? event.error : event
  if (error === event && event.type !== 'error') return undefined
  for (const name of [error.code, error.type]) if (typeof name === 'string') return name
  return 'error'
}
