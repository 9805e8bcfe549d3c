// The smallest files that say an image's size, in the four formats Bedrock takes.

export function png(width: number, height: number, paddingBytes = 0): string {
  const header = Buffer.from('89504e470d0a1a0a0000000d4948445200000000000000000806000000', 'hex')
  header.writeUInt32BE(width, 16)
  header.writeUInt32BE(height, 20)
  return Buffer.concat([header, Buffer.alloc(paddingBytes)]).toString('base64')
}

export function gif(width: number, height: number): string {
  const header = Buffer.alloc(64)
  header.write('GIF89a')
  header.writeUInt16LE(width, 6)
  header.writeUInt16LE(height, 8)
  return header.toString('base64')
}

/** The extended form of WebP (VP8X). */
export function webp(width: number, height: number): string {
  const header = Buffer.alloc(64)
  header.write('RIFF')
  header.write('WEBPVP8X', 8)
  header.writeUIntLE(width - 1, 24, 3)
  header.writeUIntLE(height - 1, 27, 3)
  return header.toString('base64')
}

/** `before` is how many bytes of EXIF and colour profile come first, in segments of 64 KB. */
export function jpeg(width: number, height: number, before = 0): string {
  const segments: Buffer[] = [Buffer.from('ffd8', 'hex')]
  for (let left = before; left > 0; left -= 65_000) {
    const segment = Buffer.alloc(2 + Math.max(8, Math.min(left, 65_000)), 0xff)
    segment.writeUInt16BE(0xffe1, 0)
    segment.writeUInt16BE(segment.length - 2, 2)
    segments.push(segment)
  }
  const frame = Buffer.from('ffc2001108000000000301220002110103110100', 'hex')
  frame.writeUInt16BE(height, 5)
  frame.writeUInt16BE(width, 7)
  return Buffer.concat([...segments, frame, Buffer.alloc(100)]).toString('base64')
}
