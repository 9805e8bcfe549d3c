// The lines of a server-sent event stream, cut while its chunks pass. A line that lies inside one chunk is read in
// place. Lines end in LF or CRLF; the lone CR that the standard also allows is not used by any API Bedrock has.
import { createPieces } from './pieces.ts'

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d

export interface LineSplitter {
  push(chunk: Buffer): void
  /** After the last byte: what stands after the last line end is a line too. */
  end(): void
}

/**
 * `line` gets a line's bytes, only lent for the call, without its end. Keeps at most `maxLineBytes` of one unfinished
 * line; a longer line is dropped and reading goes on after it.
 */
export function createLineSplitter(
  maxLineBytes: number,
  line: (bytes: Buffer, start: number, end: number) => void,
): LineSplitter {
  const held = createPieces(maxLineBytes)

  function finishHeld(): void {
    const bytes = held.take()
    if (bytes) show(bytes, 0, bytes.length)
  }

  function show(bytes: Buffer, start: number, end: number): void {
    if (end - start <= maxLineBytes)
      line(bytes, start, bytes[end - 1] === CARRIAGE_RETURN && end > start ? end - 1 : end)
  }

  return {
    push(chunk) {
      let at = 0
      while (at < chunk.length) {
        const lineEnd = chunk.indexOf(LINE_FEED, at)
        if (lineEnd < 0) return held.add(chunk.subarray(at))
        if (held.bytes === 0) show(chunk, at, lineEnd)
        else {
          held.add(chunk.subarray(at, lineEnd))
          finishHeld()
        }
        at = lineEnd + 1
      }
    },
    end() {
      if (held.bytes > 0) finishHeld()
    },
  }
}
