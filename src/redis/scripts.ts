// The Lua scripts: one a verb of the waiting room, each with the same prelude in front.
import { readFileSync } from 'node:fs'
import { defineScript, type Script } from './script.ts'

/** In this order: each needs what is above it. */
const PRELUDE = [
  'names',
  'pool',
  'room',
  'records',
  'waiters',
  'departed',
  'flows',
  'line',
  'purse',
  'turns',
  'prospects',
  'reply',
]
/** Of the verbs that end reservations. */
const SETTLING = [...PRELUDE, 'settling']
/** Of those that shut, open or pace pools. */
const STEERING = [...PRELUDE, 'changes', 'board']
/** The same, with what makes a room before it is read. */
const CREATING = ['names', 'create', ...PRELUDE.slice(1)]

function verb(name: string, prelude = PRELUDE): Script {
  const parts = [...prelude.map(part => `prelude/${part}`), name]
  return defineScript(name, parts.map(textOf).join(''))
}

function textOf(part: string): string {
  return readFileSync(new URL(`scripts/${part}.lua`, import.meta.url), 'utf8')
}

export const SCRIPTS = {
  acquire: verb('acquire', SETTLING),
  settle: verb('settle', SETTLING),
  requeue: verb('requeue'),
  cancel: verb('cancel'),
  tick: verb('tick'),
  configure: verb('configure', CREATING),
  report: verb('report', STEERING),
  steer: verb('steer', STEERING),
  drain: verb('drain'),
  status: verb('status'),
}
