// Frames and headers that no honest server sends, and the bounds that hold against them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createFrameSplitter } from '../../src/wire/eventStream.ts'
import { headerIs, headerText } from '../../src/wire/eventStreamHeaders.ts'
import { encodeEvent } from './recordings.ts'

const MEGABYTE = 1024 * 1024

/** The payload sizes of the frames that are shown when all are wanted. */
function shownSizes(stream: Buffer, chunkBytes: number): number[] {
  const sizes: number[] = []
  const splitter = createFrameSplitter({
    wants: () => true,
    frame: (_bytes, _start, headersEnd, payloadEnd) => sizes.push(payloadEnd - headersEnd),
  })
  for (let at = 0; at < stream.length; at += chunkBytes) splitter.push(stream.subarray(at, at + chunkBytes))
  return sizes
}

function rawFrame(headersBytes: number, payloadBytes: number): Buffer {
  const frame = Buffer.alloc(Math.max(16, headersBytes + payloadBytes + 16))
  frame.writeUInt32BE(headersBytes + payloadBytes + 16, 0)
  frame.writeUInt32BE(headersBytes, 4)
  return frame
}

const NEXT = rawFrame(0, 5)

test('frames up to the bounds are shown and the next one too, whatever the chunks', () => {
  const stream = Buffer.concat([rawFrame(128 * 1024, 16 * MEGABYTE), NEXT, rawFrame(0, 0), NEXT])
  for (const chunkBytes of [stream.length, 65_536, 1_000_003])
    assert.deepEqual(shownSizes(stream, chunkBytes), [16 * MEGABYTE, 5, 0, 5])
})

test('a payload, or headers, beyond the bounds end the reading', () => {
  for (const frame of [rawFrame(0, 16 * MEGABYTE + 1), rawFrame(128 * 1024 + 1, 0)])
    for (const chunkBytes of [frame.length, 65_536])
      assert.deepEqual(shownSizes(Buffer.concat([NEXT, frame, NEXT]), chunkBytes), [5])
})

test('headers longer than their frame end the reading', () => {
  const frame = rawFrame(0, 0)
  frame.writeUInt32BE(4, 4)
  assert.deepEqual(shownSizes(Buffer.concat([frame, NEXT, NEXT]), 65_536), [])
})

test('a frame is shown in place when it lies in one chunk, and copied only when it spans two', () => {
  const stream = Buffer.concat([NEXT, NEXT])
  const inPlace: boolean[] = []
  const splitter = createFrameSplitter({ wants: () => true, frame: bytes => inPlace.push(bytes === first) })
  const first = stream.subarray(0, NEXT.length + 3)
  splitter.push(first)
  splitter.push(stream.subarray(NEXT.length + 3))
  assert.deepEqual(inPlace, [true, false])
})

test('a header is found by its whole name, and only if it is a string that lies in the block', () => {
  const frame = encodeEvent('metadata', {})
  const end = 12 + frame.readUInt32BE(4)
  assert.equal(headerText(frame, 12, end, ':event-type'), 'metadata')
  assert.equal(headerText(frame, 12, end, ':message-type'), 'event')
  assert.equal(headerText(frame, 12, end, ':event'), undefined)
  assert.equal(headerIs(frame, 12, end, ':event-type', 'meta'), false)
  assert.equal(headerIs(frame, 12, end, ':event-type', 'metadatb'), false)
  for (let cut = 12; cut < 12 + 1 + 11 + 1 + 2 + 8; cut += 1) {
    assert.equal(headerText(frame, 12, cut, ':event-type'), undefined, `cut at ${cut}`)
    assert.equal(headerText(frame.subarray(0, cut), 12, cut, ':event-type'), undefined, `cut off at ${cut}`)
  }
})
