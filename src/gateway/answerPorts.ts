// What may answer in place of a call of one's own: a kept answer, a placeholder, another's call.
import type { Answer, Invocation, WholeReply } from './ports.ts'

/** Good answers kept for the `stale` fallback, bounded in age and bytes. Neither call ever rejects: a store that fails has nothing. */
export interface AnswerStore {
  get(model: string, key: string): Promise<KeptAnswer | undefined>
  /** In place of an older one. Resolves when the reply's bytes are the store's own affair. */
  put(model: string, key: string, reply: WholeReply): Promise<void>
}

export interface KeptAnswer {
  reply: WholeReply
  /** Since it was kept. */
  ageMs: number
}

/** A placeholder in the operation's own shape that says `text`; undefined where there can be none (embeddings, images). */
export type Mock = (invocation: Invocation, text: string) => WholeReply | undefined

// ---- calls shared by replicas ----

/** Hears of a shared call what its own client hears of it, and when its wait is over. */
export interface Hearer extends Answer {
  granted(): void
}

/** Where replicas find out which of them makes a call that several were asked for, and hear its answer. */
export interface Flights {
  /** Never rejects. */
  board(key: string): Promise<Boarding>
}

export type Boarding =
  /** Nobody can be asked at present: make the call, share it within this process. */
  | { kind: 'alone' }
  | { kind: 'lead'; lead: Lead }
  /** Another replica makes it: `hearer` hears it from its start; `lost`: nothing more will come, and no end has. The result ends it. */
  | { kind: 'follow'; follow: (hearer: Hearer, lost: () => void) => () => void }

/** Held by the replica that makes the call. */
export interface Lead {
  /** `task` is called once others follow, at most once: `relay` must hear the call from its start, until the result is called. */
  whenFollowed(task: (relay: Hearer) => () => void): void
  /** Nobody may join any more. Resolves when all who had joined before are known. */
  close(): Promise<void>
  /** Nobody here takes part any more. Resolves when nobody elsewhere does either. */
  deserted(): Promise<void>
}
