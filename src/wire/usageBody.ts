// Usage out of one JSON body. Its place in the body differs by provider and a tool's arguments may hold the same words,
// so the whole body is parsed, once, at its end.
import { bufferOver, type UsageReader } from './usageReader.ts'
import { usageOfBody } from './usageShapes.ts'

/** Bytes kept at most; a longer body is let go and gives no usage. */
const MAX_BODY_BYTES = 32 * 1024 * 1024

export function createBodyUsageReader(headerInput: number | undefined): UsageReader {
  let chunks: Buffer[] = []
  let bytes = 0
  return {
    push(chunk) {
      bytes += chunk.byteLength
      if (bytes > MAX_BODY_BYTES) chunks = []
      else chunks.push(bufferOver(chunk))
    },
    end() {
      if (bytes > MAX_BODY_BYTES) return undefined
      const body = chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes)
      chunks = []
      return usageOfBody(parsedNumbers(body.toString('latin1')), headerInput)
    },
  }
}

/**
 * JSON of which only keys, numbers and ASCII words will be read; undefined when it is none. Read as Latin-1: JSON's
 * structure is ASCII, so the text inside may be misread at no harm, and no byte is ever invalid.
 */
export function parsedNumbers(latin1: string): unknown {
  try {
    return JSON.parse(latin1)
  } catch {
    return undefined
  }
}
