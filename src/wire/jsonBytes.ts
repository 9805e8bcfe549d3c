// JSON looked at as bytes, in one pass that leaps over texts: where a text stands, so that it can be replaced without
// writing the rest anew, and how many values there are, before anyone spends time and memory on parsing them.

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const COMMA = 0x2c
const OPENING = [0x7b, 0x5b]
const CLOSING = [0x7d, 0x5d]

export interface Place {
  start: number
  end: number
}

/** The bytes of the text under the object's own `key`, quotes included; of the last such key, the one JSON readers take. */
export function topLevelText(json: Buffer, key: string): Place | undefined {
  let found: Place | undefined
  let depth = 0
  let isKey = true
  let currentKey: string | undefined
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]!
    if (byte === QUOTE) {
      const end = endOfText(json, at)
      if (depth === 1 && isKey) currentKey = JSON.parse(json.toString('latin1', at, end))
      else if (depth === 1 && currentKey === key) found = { start: at, end }
      at = end - 1
    } else if (OPENING.includes(byte)) depth += 1
    else if (CLOSING.includes(byte)) depth -= 1
    else if (depth === 1 && byte === COLON) isKey = false
    else if (depth === 1 && byte === COMMA) isKey = true
  }
  return found
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
