// Tokens of media: the measured figures of BEDROCK.md §7, each format, and files made to mislead.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  decodedAt,
  decodedBytes,
  imageTokens,
  MAX_IMAGE_TOKENS,
  pdfTokens,
  UNKNOWN_IMAGE_TOKENS,
  videoTokens,
} from '../../src/wire/media.ts'
import { seeded } from '../support/seeds.ts'
import { gif, jpeg, png, webp } from './images.ts'

test('images cost what was measured on Claude', () => {
  const measured: [number, number, number][] = [
    [256, 256, 100],
    [512, 512, 361],
    [768, 768, 784],
    [1024, 1024, 1369],
    [1280, 720, 1196],
  ]
  for (const [width, height, tokens] of measured)
    for (const image of [png, gif, webp, jpeg])
      assert.equal(imageTokens(image(width, height)), tokens, `${image.name} ${width}×${height}`)
})

test('no image costs more than the largest cap', () => {
  assert.equal(imageTokens(png(0xffffffff, 0xffffffff)), MAX_IMAGE_TOKENS)
  assert.equal(imageTokens(jpeg(65535, 65535)), MAX_IMAGE_TOKENS)
})

test('the size of a JPEG is found behind large EXIF and colour blocks', () => {
  for (const before of [10, 64_000, 500_000, 3_000_000])
    assert.equal(imageTokens(jpeg(512, 512, before)), 361, `${before} bytes before`)
})

test('an image that cannot be read costs the flat default', () => {
  const cutShort = [png(9, 9), gif(9, 9), webp(9, 9), jpeg(9, 9)].map(image => image.slice(0, 8))
  const noPixels = [png(0, 9), gif(9, 0), jpeg(0, 0)]
  const others = ['', '!!!!', Buffer.from('<svg width="9" height="9"/>').toString('base64'), 'AAAA'.repeat(100)]
  for (const base64 of [...cutShort, ...noPixels, ...others])
    assert.equal(imageTokens(base64), UNKNOWN_IMAGE_TOKENS, base64.slice(0, 20))
})

test('what an image costs does not depend on the memory behind its bytes', () => {
  for (let i = 0; i < 1_000; i += 1) {
    Buffer.from('ff'.repeat(1 + (i % 50)), 'hex')
    assert.equal(imageTokens(gif(9, 9).slice(0, 8)), UNKNOWN_IMAGE_TOKENS)
  }
})

test('any bytes after a JPEG mark, 8 MB of them too, cost the flat default', () => {
  for (const filler of [0x00, 0xff, 0x01, 0xd8]) {
    const bytes = Buffer.alloc(8 * 1024 * 1024, filler)
    bytes.writeUInt16BE(0xffd8)
    assert.equal(imageTokens(bytes.toString('base64')), UNKNOWN_IMAGE_TOKENS)
  }
})

test('random bytes behind any mark never throw and cost a bounded, positive number', t => {
  const marks = ['', 'ffd8', '89504e47', '47494638', '5249464600000000574542505650']
  const property = fc.property(fc.constantFrom(...marks), fc.uint8Array({ maxLength: 200 }), (mark, bytes) => {
    const tokens = imageTokens(Buffer.concat([Buffer.from(mark, 'hex'), bytes]).toString('base64'))
    assert.ok(Number.isInteger(tokens) && tokens > 0 && tokens <= MAX_IMAGE_TOKENS)
  })
  fc.assert(property, seeded(t, 2000))
})

test('a window of base64 decodes to the same bytes as the whole', t => {
  const property = fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(90), fc.nat(20), (bytes, offset, length) => {
    const base64 = Buffer.from(bytes).toString('base64')
    assert.deepEqual([...decodedAt(base64, offset, length)], [...bytes.subarray(offset, offset + length)])
    assert.equal(decodedBytes(base64), bytes.length)
  })
  fc.assert(property, seeded(t, 2000))
})

test('PDFs and videos cost more the larger they are, up to what providers read', () => {
  assert.equal(pdfTokens(1), 3_000)
  assert.equal(pdfTokens(100_000), 6_000)
  assert.equal(pdfTokens(25_000_000), 300_000)
  assert.equal(videoTokens(2_500_000), 2_880)
  assert.equal(videoTokens(1_000_000_000), 276_480)
})
