// Anthropic's server-sent events out of a whole body, as a client would read them.
export interface MessagesEvent {
  type: string
  message?: { usage: { input_tokens: number } }
  usage?: { output_tokens: number }
}

export function serverSentEvents(text: string): MessagesEvent[] {
  const lines = text.split(/\r?\n/).filter(line => line.startsWith('data:'))
  return lines.map(line => JSON.parse(line.slice('data:'.length)))
}
