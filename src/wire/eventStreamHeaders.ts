// One header of an event-stream frame, found by walking the header block in place.
//
//   name length u8 | name | type u8 | value; a string value (type 7) is length u16be | UTF-8

const STRING_TYPE = 7
/** Bytes of a value by its type: true, false, byte, short, integer, long, byte array, string, timestamp, uuid. */
const VALUE_BYTES = [0, 0, 1, 2, 4, 8, undefined, undefined, 8, 16]

/** Whether the string header `name` has `value`; both ASCII. false also when absent or the block is malformed. */
export function headerIs(bytes: Buffer, start: number, end: number, name: string, value: string): boolean {
  const at = stringValueAt(bytes, start, end, name)
  return at !== undefined && bytes.readUInt16BE(at) === value.length && isAscii(bytes, at + 2, value)
}

/** The value of the string header `name`; undefined when absent, no string, or the block is malformed. */
export function headerText(bytes: Buffer, start: number, end: number, name: string): string | undefined {
  const at = stringValueAt(bytes, start, end, name)
  return at === undefined ? undefined : bytes.toString('utf8', at + 2, at + 2 + bytes.readUInt16BE(at))
}

/** Where the value's length stands; the whole value lies before `end`. */
function stringValueAt(bytes: Buffer, start: number, end: number, name: string): number | undefined {
  let at = start
  while (at < end) {
    const nameStart = at + 1
    const typeAt = nameStart + bytes[at]!
    if (typeAt >= end) return undefined
    const type = bytes[typeAt]!
    const next = valueEnd(bytes, typeAt + 1, end, type)
    if (next === undefined) return undefined
    if (type === STRING_TYPE && typeAt - nameStart === name.length && isAscii(bytes, nameStart, name)) return typeAt + 1
    at = next
  }
  return undefined
}

function valueEnd(bytes: Buffer, at: number, end: number, type: number): number | undefined {
  if (type >= VALUE_BYTES.length) return undefined
  const fixed = VALUE_BYTES[type]
  if (fixed === undefined && at + 2 > end) return undefined
  const next = at + (fixed ?? 2 + bytes.readUInt16BE(at))
  return next <= end ? next : undefined
}

function isAscii(bytes: Buffer, at: number, text: string): boolean {
  for (let i = 0; i < text.length; i += 1) if (bytes[at + i] !== text.charCodeAt(i)) return false
  return true
}
