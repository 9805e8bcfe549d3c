// JSON looked at as bytes, in one pass that leaps over texts: where a value stands, so that it can be replaced without
// writing the rest anew, and how many values there are, before anyone spends time and memory on parsing them.

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const OPENING_BRACE = 0x7b

/** What a byte outside of texts may be, by its value: one look at a table, because megabytes are looked at. */
const ORDINARY = 0
const IS_BLANK = 1
const IS_QUOTE = 2
const IS_COMMA = 3
const IS_OPENING = 4
const IS_CLOSING = 5
const KINDS = new Uint8Array(256)
const marks: [string, number][] = [
  ['"', IS_QUOTE],
  [',', IS_COMMA],
  ['{[', IS_OPENING],
  ['}]', IS_CLOSING],
  [' \n\r\t', IS_BLANK],
]
for (const [bytes, kind] of marks) for (const byte of Buffer.from(bytes)) KINDS[byte] = kind

export interface Place {
  start: number
  end: number
}

/** A value, and where it is an object that was looked into, its members. */
export interface Member extends Place {
  members?: Members
}

/** By key; of equal keys the last, the one JSON readers take. */
export type Members = Map<string, Member>

/** The bytes of the text under the object's own `key`, quotes included; of the last such key, the one JSON readers take. */
export function topLevelText(json: Buffer, key: string): Place | undefined {
  const place = membersOf(json, new Set([key]), 1).get(key)
  return place && json[place.start] === QUOTE ? place : undefined
}

/**
 * Where the values under `keys` stand in an object and, to a depth of so many objects, in the objects under these: all in
 * one pass. A body that is no object has no members. The JSON is valid.
 */
export function membersOf(json: Buffer, keys: Set<string>, depth: number): Members {
  const members: Members = new Map()
  readMembers(json, afterBlanks(json, 0), keys, depth, (key, member) => members.set(key, member))
  return members
}

/** Whether the object has the key of its own more than once, however it is spelled: not every JSON reader takes the last. */
export function isRepeated(json: Buffer, key: string): boolean {
  let times = 0
  readMembers(json, afterBlanks(json, 0), new Set([key]), 1, () => {
    times += 1
  })
  return times > 1
}

/** Gives the index behind the object that opens at `start`; where none opens, `start`. */
function readMembers(
  json: Buffer,
  start: number,
  keys: Set<string>,
  depth: number,
  found: (key: string, member: Member) => void,
): number {
  if (json[start] !== OPENING_BRACE) return start
  let at = afterBlanks(json, start + 1)
  for (; json[at] === QUOTE; at = afterBlanks(json, at + 1)) {
    const keyEnd = endOfText(json, at)
    const key = keyOf(json, at, keyEnd)
    const colon = afterBlanks(json, keyEnd)
    const valueStart = afterBlanks(json, colon + 1)
    let end: number
    if (!keys.has(key)) end = endOfValue(json, valueStart)
    else if (depth > 1 && json[valueStart] === OPENING_BRACE) {
      const members: Members = new Map()
      end = readMembers(json, valueStart, keys, depth - 1, (inner, member) => members.set(inner, member))
      found(key, { start: valueStart, end, members })
    } else {
      end = endOfValue(json, valueStart)
      found(key, { start: valueStart, end })
    }
    at = afterBlanks(json, end)
    if (json[at] !== COMMA) break
  }
  return at + 1
}

/** A longer one, quotes and escapes included, is none that anybody looks for. */
const MAX_KEY_BYTES = 256

function keyOf(json: Buffer, start: number, end: number): string {
  if (end - start > MAX_KEY_BYTES) return ''
  const text = json.toString('latin1', start + 1, end - 1)
  return text.includes('\\') ? JSON.parse(`"${text}"`) : text
}

/** Whether the bytes hold more than `most` values, keys aside. Base64 and prompts cost next to nothing: they are leapt over. */
export function hasMoreValues(json: Buffer, most: number): boolean {
  let values = 1
  for (let at = 0; at < json.length; at++) {
    const kind = KINDS[json[at]!]!
    if (kind === IS_QUOTE) at = endOfText(json, at) - 1
    else if (kind === IS_COMMA || kind === IS_OPENING) {
      values += 1
      if (values > most) return true
    }
  }
  return false
}

/** The index of the first byte from `at` on that is no white space. */
export function afterBlanks(json: Buffer, at: number): number {
  let index = at
  while (index < json.length && KINDS[json[index]!] === IS_BLANK) index += 1
  return index
}

/** The index behind the value that starts at `start`. */
function endOfValue(json: Buffer, start: number): number {
  let depth = 0
  for (let at = start; at < json.length; at++) {
    const dull = depth === 0 ? ORDINARY : IS_BLANK
    while (KINDS[json[at]!]! <= dull) at += 1
    const kind = KINDS[json[at]!]
    if (kind === IS_QUOTE) at = endOfText(json, at) - 1
    else if (kind === IS_OPENING) depth += 1
    else if (kind === IS_CLOSING) {
      // That of the object around a bare number or word.
      if (depth === 0) return at
      depth -= 1
    } else if (depth === 0) return at
    else continue
    if (depth === 0) return at + 1
  }
  return json.length
}

/** So many bytes are looked at one by one before the next quote is searched: where there are many, a search each costs more. */
const STEPS = 256

/** The index behind the closing quote of the text that opens at `start`. */
function endOfText(json: Buffer, start: number): number {
  let at = start + 1
  while (at < json.length) {
    const to = Math.min(at + STEPS, json.length)
    for (; at < to; at += 1) {
      const byte = json[at]
      if (byte === BACKSLASH) at += 1
      else if (byte === QUOTE) return at + 1
    }
    at = json.indexOf(QUOTE, at)
    if (at < 0) break
    let escapes = 0
    while (json[at - 1 - escapes] === BACKSLASH) escapes += 1
    at += 1
    if (escapes % 2 === 0) return at
  }
  return json.length
}
