// One congestion is answered by one cut. What was already on its way when the rate was cut still speaks of the old rate, and
// says so again and again: a law that heeds all of it falls to its floor in a second. So an episode begins with a cut and ends
// when, DEAF_MS later or more, something has been accepted; throttles until then belong to the cut that was made.

/** What the control loop saw of one dimension of one pool since the last step. */
export interface Feedback {
  /** Sends that were not throttled. */
  accepted: number
  /** What those took of this dimension: requests or tokens, corrected by settlements, so it may be below 0. */
  amount: number
  /** Throttles of this dimension. */
  throttled: number
  /** Whether this dimension's bucket held somebody back: only then do acceptances say that there may be more. */
  limited: boolean
  elapsedMs: number
  nowMs: number
}

export interface Episode {
  /** Whether anything has been accepted since the last cut was heard of. */
  isOver: boolean
  deafUntilMs: number
}

export type Hearing = 'deaf' | 'cut' | 'same-congestion' | 'calm'

/** Reports travel for up to a step and the answers in them are as old again. */
const DEAF_MS = 1_000

export function noEpisode(): Episode {
  return { isOver: true, deafUntilMs: 0 }
}

/** After a cut at this time. */
export function begun(nowMs: number): Episode {
  return { isOver: false, deafUntilMs: nowMs + DEAF_MS }
}

/** What the feedback means for the rate, and the episode after it. */
export function hear(
  episode: Episode,
  { accepted, throttled, nowMs }: Feedback,
): { hearing: Hearing; episode: Episode } {
  // A clock that stepped back must not leave the law deaf until it has caught up.
  const deafUntilMs = Math.min(episode.deafUntilMs, nowMs + DEAF_MS)
  if (nowMs < deafUntilMs) return { hearing: 'deaf', episode: { ...episode, deafUntilMs } }
  const isOver = episode.isOver || accepted > 0
  if (throttled > 0 && isOver) return { hearing: 'cut', episode: begun(nowMs) }
  return { hearing: throttled > 0 ? 'same-congestion' : 'calm', episode: { isOver, deafUntilMs } }
}
