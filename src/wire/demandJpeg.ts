// A JPEG's pixel size, by stepping from segment to segment: a camera's EXIF block and colour profile may put it hundreds
// of kilobytes in, and only a few bytes of each segment are read. image-size needs the whole file for that, and steps
// byte by byte through one made to slow it down.

export interface PixelSize {
  width: number
  height: number
}

/** More segments than this before the size is no photo. */
const MAX_SEGMENTS = 256
/** As many for all images of one body: each costs a look into its base64, and a body may hold tens of thousands of images. */
const MAX_STEPS = 16_384
/** Marker, length, precision, height, width. */
const FRAME_HEADER_BYTES = 9

/** What is left of the steps that the images of one body may take together. */
export interface Steps {
  left: number
}

export function stepsOfOneBody(): Steps {
  return { left: MAX_STEPS }
}

/** `read` gives `bytes` bytes from `offset` on, fewer at the end. undefined: no size found. */
export function jpegSize(read: (offset: number, bytes: number) => Buffer, steps: Steps): PixelSize | undefined {
  let offset = 2
  for (let segment = 0; segment < MAX_SEGMENTS && steps.left > 0; segment += 1) {
    steps.left -= 1
    const header = read(offset, FRAME_HEADER_BYTES)
    if (header.length < FRAME_HEADER_BYTES || header[0] !== 0xff) return undefined
    const marker = header[1]!
    if (marker === 0xff) offset += 1
    else if (isStartOfFrame(marker)) return { height: header.readUInt16BE(5), width: header.readUInt16BE(7) }
    else offset += 2 + header.readUInt16BE(2)
  }
  return undefined
}

/** C0 to CF, but for the Huffman table (C4), the extension (C8) and the arithmetic table (CC). */
function isStartOfFrame(marker: number): boolean {
  return marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc
}
