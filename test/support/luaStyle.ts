// How a script for Redis is written: its idea first, short lines, short functions, and no number that becomes text, which
// Lua would write with 14 digits.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'

const MAX_LINES = 300
const MAX_FUNCTION_LINES = 60

/** Of every script in the folder and below it; those in the folder itself are verbs. Returns how many there are. */
export function assertLuaStyle(folder: URL, keyName: RegExp): number {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(name => name.endsWith('.lua'))
  for (const name of names) {
    const lines = readFileSync(new URL(name, folder), 'utf8').split('\n')
    assertHeader(name, lines)
    assertLengths(name, lines)
    for (const [at, line] of lines.entries()) {
      const code = line
        .replace(/--.*/, '')
        .replace(keyName, '')
        .replace(/\.\.\./g, '')
      assert.doesNotMatch(code, /\.\.|tostring|cjson|cmsgpack|table\.concat/, `${name}:${at + 1}`)
    }
  }
  return names.length
}

/** Verbs tell KEYS, ARGV and replies too. */
function assertHeader(name: string, lines: string[]): void {
  const length = lines.findIndex(line => !line.startsWith('--'))
  const header = lines.slice(0, length).join('\n')
  assert.ok(header.length > 40, `${name} opens without its idea`)
  if (!name.includes('/')) assert.match(header, /KEYS\[1\].*ARGV\[1\].*replies/s, name)
}

function assertLengths(name: string, lines: string[]): void {
  assert.ok(lines.length <= MAX_LINES, `${name} has ${lines.length} lines`)
  const wide = lines.findIndex(line => line.length > (/^\s*--/.test(line) ? 130 : 120))
  assert.equal(wide, -1, `${name}:${wide + 1} is too long`)
  for (const [start, line] of lines.entries()) {
    const indent = /^(\s*)(local )?function /.exec(line)?.[1]
    if (indent === undefined) continue
    const length = lines.slice(start).findIndex(other => other.startsWith(`${indent}end`))
    assert.ok(length <= MAX_FUNCTION_LINES, `${name}:${start + 1} runs for ${length} lines`)
  }
}
