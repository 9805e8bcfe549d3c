// A format's events as timed steps in their carrier's bytes, broken off where the call's fault wants it.
import type { Carrier } from './carriers.ts'
import type { Steps } from './delivery.ts'
import type { FaultDraw } from './faults.ts'
import type { Completion, Format } from './formats/format.ts'
import type { Pace } from './pace.ts'

export function* streamSteps(
  format: Format,
  carrier: Carrier,
  completion: Completion,
  pace: Pace,
  broken: FaultDraw['broken'],
): Steps {
  const breakAtToken = broken ? breakPoint(completion.usage.outputTokens, broken.part) : Number.POSITIVE_INFINITY
  let producedTokens = 0
  for (const event of format.stream(completion)) {
    // The call's first wait was for its first token.
    const waitTokens = producedTokens === 0 ? Math.max(0, event.tokens - 1) : event.tokens
    const waitMs = waitTokens === 0 ? 0 : pace.nextMs(waitTokens)
    const bytes = () => carrier.event(event, completion)
    producedTokens += event.tokens
    if (broken && producedTokens >= breakAtToken) {
      if (broken.how === 'cut') {
        yield { waitMs, tokens: 0, bytes: () => firstHalf(bytes()) }
        return 'cut'
      }
      const exception = carrier.exception(broken.how)
      yield { waitMs, tokens: 0, bytes: () => exception }
      return 'exception'
    }
    yield { waitMs, tokens: event.tokens, bytes }
  }
  const { ending } = carrier
  if (ending) yield { waitMs: 0, tokens: 0, bytes: () => ending }
  return 'complete'
}

/** After the first token, where there is more than one. */
function breakPoint(tokens: number, part: number): number {
  return Math.min(tokens, 2 + Math.floor(part * Math.max(0, tokens - 1)))
}

function firstHalf(bytes: Buffer): Buffer {
  return bytes.subarray(0, Math.ceil(bytes.length / 2))
}
