// The Lua scripts by which replicas share calls: each stands alone, on the keys of one flight.
import { readFileSync } from 'node:fs'
import { defineScript, type Script } from './script.ts'

function script(name: string): Script {
  return defineScript(name, readFileSync(new URL(`scripts/flights/${name}.lua`, import.meta.url), 'utf8'))
}

export const FLIGHT_SCRIPTS = {
  claim: script('claim'),
  tell: script('tell'),
  read: script('read'),
  release: script('release'),
}
