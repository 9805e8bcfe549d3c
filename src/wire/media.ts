// What images, documents, video and sound cost in tokens, from their bytes' size and an image's pixels. Estimates for a
// reservation: the settlement corrects them. Only an image's first bytes are decoded, whatever its size.
import { imageSize } from 'image-size'
import { jpegSize, type PixelSize, type Steps, stepsOfOneBody } from './demandJpeg.ts'

/** Claude reads an image as patches of 28 × 28 pixels (measured figures, 2026-11: BEDROCK.md §7). */
const PATCH_PIXELS = 28
/** The most that any Claude charges for one image: "5.5-gen caps ~3.0-3.9k", older ones 1,568 (2026-11). */
export const MAX_IMAGE_TOKENS = 3_900
/** An image that cannot be read or lies elsewhere: what older Claudes shrink a large one to (2026-11). */
export const UNKNOWN_IMAGE_TOKENS = 1_568

/** A page of a PDF on Claude, text and picture: "1.5-3k" as a rule of thumb, unverified (2026-11). */
const PDF_PAGE_TOKENS = 3_000
const PDF_PAGE_BYTES = 50_000
const MAX_PDF_PAGES = 100
/** A document that lies elsewhere: as if of ten pages. */
export const UNKNOWN_DOCUMENT_TOKENS = 10 * PDF_PAGE_TOKENS

/** Nova reads a frame a second, 960 at most (AWS's Nova guide); 288 tokens a frame, 2 Mbit/s: unverified (2026-11). */
const VIDEO_FRAME_TOKENS = 288
const VIDEO_SECOND_BYTES = 250_000
const MAX_VIDEO_FRAMES = 960
/** A video that lies elsewhere: as if of one minute. */
export const UNKNOWN_VIDEO_TOKENS = 60 * VIDEO_FRAME_TOKENS

/** Speech at 32 kbit/s and ten tokens a second: unverified (2026-11). */
const AUDIO_TOKEN_BYTES = 400
/** Sound that lies elsewhere: as if of five minutes. */
export const UNKNOWN_AUDIO_TOKENS = 3_000

/** Enough for the header of a PNG, GIF or WebP. */
const HEADER_BYTES = 64

/** `steps`: of all images of the body together. Where they run out, a JPEG's size is not known. */
export function imageTokens(base64: string, steps: Steps = stepsOfOneBody()): number {
  const size = pixelSize(base64, steps)
  if (size === undefined || !(size.width > 0) || !(size.height > 0)) return UNKNOWN_IMAGE_TOKENS
  const patches = Math.ceil(size.width / PATCH_PIXELS) * Math.ceil(size.height / PATCH_PIXELS)
  return Math.min(patches, MAX_IMAGE_TOKENS)
}

/** At least a page: Bedrock takes no empty document. */
export function pdfTokens(bytes: number): number {
  const pages = Math.max(1, Math.ceil(bytes / PDF_PAGE_BYTES))
  return Math.min(pages, MAX_PDF_PAGES) * PDF_PAGE_TOKENS
}

export function videoTokens(bytes: number): number {
  const frames = Math.max(1, Math.ceil(bytes / VIDEO_SECOND_BYTES))
  return Math.min(frames, MAX_VIDEO_FRAMES) * VIDEO_FRAME_TOKENS
}

export function audioTokens(bytes: number): number {
  return Math.ceil(bytes / AUDIO_TOKEN_BYTES)
}

/** Bytes that a base64 text stands for. */
export function decodedBytes(base64: string): number {
  const padding = base64.endsWith('==') ? 2 : base64.endsWith('=') ? 1 : 0
  return Math.floor(((base64.length - padding) * 3) / 4)
}

/** Decodes `bytes` bytes from `offset` on, or as many as there are, and nothing before them. */
export function decodedAt(base64: string, offset: number, bytes: number): Buffer {
  const triple = Math.floor(offset / 3)
  const skipped = offset - triple * 3
  const window = base64.slice(triple * 4, triple * 4 + Math.ceil((bytes + skipped) / 3) * 4)
  return Buffer.from(window, 'base64').subarray(skipped, skipped + bytes)
}

/** image-size also tries twenty formats that Bedrock does not take; only these three are left to it. */
const FIRST_BYTES = ['\x89PNG', 'GIF8', 'RIFF']

function pixelSize(base64: string, steps: Steps): PixelSize | undefined {
  const header = decodedAt(base64, 0, HEADER_BYTES)
  if (header[0] === 0xff && header[1] === 0xd8)
    return jpegSize((offset, bytes) => decodedAt(base64, offset, bytes), steps)
  if (!FIRST_BYTES.includes(header.toString('latin1', 0, 4))) return undefined
  try {
    // A copy of their own: image-size reads on behind a short header, into whatever else lies in a Buffer's memory.
    return imageSize(new Uint8Array(header))
  } catch {
    return undefined
  }
}
