// The Lua scripts of clients' limits: each with the one algorithm it needs in front.
import { readFileSync } from 'node:fs'
import { ALGORITHMS, type Algorithm } from '../domain/limits/meter.ts'
import { defineScript, type Script } from './script.ts'

/** In this order: each needs what is above it. */
const PRELUDES: Record<Algorithm, string[]> = {
  'token-bucket': ['tokenBucket', 'bucket'],
  'leaky-bucket': ['leakyBucket', 'bucket'],
  'sliding-window-counter': ['windows', 'slidingWindowCounter'],
  'sliding-window-log': ['slidingWindowLog'],
  'fixed-window': ['windows', 'fixedWindow'],
}

function verb(name: string, prelude: string[] = []): Script {
  const parts = ['prelude/meters', ...prelude.map(part => `prelude/${part}`), name]
  return defineScript(name, parts.map(textOf).join(''))
}

function textOf(part: string): string {
  return readFileSync(new URL(`limitScripts/${part}.lua`, import.meta.url), 'utf8')
}

function each(name: string): Record<Algorithm, Script> {
  const scripts = ALGORITHMS.map(algorithm => [algorithm, verb(name, PRELUDES[algorithm])])
  return Object.fromEntries(scripts)
}

export const LIMIT_SCRIPTS = { take: each('take'), settle: each('settle'), renew: verb('renew') }
