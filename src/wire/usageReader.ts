// A reader of one response's token usage, fed the bytes as they pass. It only looks: the bytes travel on unmodified.
import type { Usage } from '../domain/charge.ts'

/** Never throws, whatever bytes come. May keep references to pushed bytes until `end`: the caller must not overwrite them. */
export interface UsageReader {
  push(chunk: Uint8Array): void
  /** After the last byte. undefined: this response did not say. */
  end(): Usage | undefined
  /** The name of the exception or error that came inside a stream, e.g. `throttlingException`. Only streams have it. */
  exception?(): string | undefined
}

/** The same bytes as a Buffer, not copied. */
export function bufferOver(chunk: Uint8Array): Buffer {
  return Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
}
