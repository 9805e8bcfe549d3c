// A Lua script: its source and the digest Redis knows it by. Redis forgets scripts at a restart, a failover or SCRIPT FLUSH,
// so the source is always at hand.
import { createHash } from 'node:crypto'

export interface Script {
  /** For messages. */
  name: string
  source: string
  sha: string
}

export function defineScript(name: string, source: string): Script {
  return { name, source, sha: createHash('sha1').update(source).digest('hex') }
}

/** What a script may answer: Lua numbers come as integers, false and nil as null. */
export type ScriptReply = number | string | null | ScriptReply[]
