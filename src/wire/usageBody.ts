// Usage out of one JSON body. Its place in the body differs by provider and a tool's arguments may hold the same words,
// so the whole body is parsed, once, at its end.
import { holdsTooMany } from './json.ts'
import { createPieces } from './pieces.ts'
import { bufferOver, type UsageReader } from './usageReader.ts'
import { usageOfBody } from './usageShapes.ts'

/** Bytes kept at most; a longer body is let go and gives no usage. */
const MAX_BODY_BYTES = 8 * 1024 * 1024

export function createBodyUsageReader(headerInput: number | undefined): UsageReader {
  const pieces = createPieces(MAX_BODY_BYTES)
  return {
    push: chunk => pieces.add(bufferOver(chunk)),
    end() {
      const body = pieces.take()
      return body && usageOfBody(parsedNumbers(body), headerInput)
    },
  }
}

/**
 * JSON of which only keys, numbers and ASCII words will be read; undefined when it is none, or has so many values that
 * others would wait while it is parsed. Read as Latin-1: JSON's structure is ASCII, so the text inside may be misread at
 * no harm, and no byte is ever invalid.
 */
export function parsedNumbers(json: Buffer): unknown {
  if (holdsTooMany(json)) return undefined
  try {
    return JSON.parse(json.toString('latin1'))
  } catch {
    return undefined
  }
}
