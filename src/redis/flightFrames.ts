// What a shared call tells the other replicas, as text: a letter and what belongs to it. Bytes are base64, because what a
// script replies is text.
import type { Hearer } from '../gateway/answerPorts.ts'
import type { FlowControl } from '../gateway/ports.ts'

export const GRANTED = 'g'
export const END = 'e'
export const CUT = 'c'

/** Chunks that come together are told together, up to so many bytes. */
const JOINED_BYTES = 64 * 1024

export function headFrame(...parts: [status: number, headers: string[], notes: object]): string {
  return `h${JSON.stringify(parts)}`
}

export function refusalFrame(...parts: [refusal: object, notes: object | undefined]): string {
  return `r${JSON.stringify(parts)}`
}

/** Takes the chunks off the front of `chunks` that make up one frame. */
export function dataFrame(chunks: Buffer[]): string {
  let bytes = 0
  let count = 0
  for (const { length } of chunks) {
    if (count > 0 && bytes + length > JOINED_BYTES) break
    bytes += length
    count += 1
  }
  const joined = chunks.splice(0, count)
  return `d${(count === 1 ? joined[0]! : Buffer.concat(joined, bytes)).toString('base64')}`
}

/** Plays a frame to the hearer. True: it was the last. */
export function hearFrame(frame: string, hearer: Hearer, flow: FlowControl): boolean {
  const kind = frame[0]
  const rest = frame.slice(1)
  if (kind === GRANTED) hearer.granted()
  else if (kind === 'd') hearer.data(Buffer.from(rest, 'base64'))
  else if (kind === 'h') {
    const [status, headers, notes] = JSON.parse(rest)
    hearer.head(status, headers, notes, flow)
  } else if (kind === 'r') {
    const [refusal, notes] = JSON.parse(rest)
    hearer.refuse(refusal, notes ?? undefined)
  } else if (kind === END) hearer.end()
  else hearer.cut()
  return kind === 'r' || kind === END || kind === CUT
}
