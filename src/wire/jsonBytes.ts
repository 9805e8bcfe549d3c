// JSON looked at as bytes, in one pass that leaps over texts: where a value stands, so that it can be replaced without
// writing the rest anew, and how many values there are, before anyone spends time and memory on parsing them.

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const OPENING = [0x7b, 0x5b]
const CLOSING = [0x7d, 0x5d]
const BLANK = [0x20, 0x0a, 0x0d, 0x09]

export interface Place {
  start: number
  end: number
}

/** The bytes of the text under the object's own `key`, quotes included; of the last such key, the one JSON readers take. */
export function topLevelText(json: Buffer, key: string): Place | undefined {
  const place = membersOf(json, afterBlanks(json, 0)).get(key)
  return place && json[place.start] === QUOTE ? place : undefined
}

/**
 * Where the values of an object stand, by key; of equal keys the last, the one JSON readers take. `start` is where the
 * object opens, in valid JSON; a value that is no object has no members.
 */
export function membersOf(json: Buffer, start: number): Map<string, Place> {
  return new Map(entriesOf(json, start))
}

/** Whether the object has the key of its own more than once, however it is spelled: not every JSON reader takes the last. */
export function isRepeated(json: Buffer, key: string): boolean {
  let times = 0
  for (const [name] of entriesOf(json, afterBlanks(json, 0))) if (name === key) times += 1
  return times > 1
}

function* entriesOf(json: Buffer, start: number): Generator<[string, Place]> {
  if (json[start] !== OPENING[0]) return
  for (let at = afterBlanks(json, start + 1); json[at] === QUOTE; at = afterBlanks(json, at + 1)) {
    const keyEnd = endOfText(json, at)
    const key: string = JSON.parse(json.toString('latin1', at, keyEnd))
    const colon = afterBlanks(json, keyEnd)
    const valueStart = afterBlanks(json, colon + 1)
    const end = endOfValue(json, valueStart)
    yield [key, { start: valueStart, end }]
    at = afterBlanks(json, end)
    if (json[at] !== COMMA) break
  }
}

/** Whether the bytes hold more than `most` values, keys aside. Base64 and prompts cost next to nothing: they are leapt over. */
export function hasMoreValues(json: Buffer, most: number): boolean {
  let values = 1
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]!
    if (byte === QUOTE) at = endOfText(json, at) - 1
    else if (byte === COMMA || OPENING.includes(byte)) {
      values += 1
      if (values > most) return true
    }
  }
  return false
}

/** The index of the first byte from `at` on that is no white space. */
export function afterBlanks(json: Buffer, at: number): number {
  let index = at
  while (BLANK.includes(json[index]!)) index += 1
  return index
}

/** The index behind the value that starts at `start`. */
function endOfValue(json: Buffer, start: number): number {
  let depth = 0
  for (let at = start; at < json.length; at++) {
    const byte = json[at]!
    if (byte === QUOTE) at = endOfText(json, at) - 1
    else if (OPENING.includes(byte)) depth += 1
    else if (CLOSING.includes(byte)) {
      // That of the object around a bare number or word.
      if (depth === 0) return at
      depth -= 1
    } else if (depth === 0 && (byte === COMMA || BLANK.includes(byte))) return at
    else continue
    if (depth === 0) return at + 1
  }
  return json.length
}

/** The index behind the closing quote of the text that opens at `start`. */
function endOfText(json: Buffer, start: number): number {
  for (let at = start + 1; ; at++) {
    at = json.indexOf(QUOTE, at)
    if (at < 0) return json.length
    let escapes = 0
    while (json[at - 1 - escapes] === BACKSLASH) escapes += 1
    if (escapes % 2 === 0) return at + 1
  }
}
