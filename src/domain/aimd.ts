// The textbook rule, additive increase and multiplicative decrease by the settings' numbers: after each run of accepted calls
// a factor up, at a throttle a factor down. An episode (episode.ts) has one cut however many throttles it has. Only calls
// that went while our bucket was the limit make up a run, as with congestion window validation in TCP (RFC 7661): a rate
// that nobody uses proves nothing, and would stand at its maximum when the rush comes.
import { type Episode, type Feedback, hear, noEpisode } from './episode.ts'
import type { AimdSettings } from './model.ts'

/** Rates are amounts (requests or tokens) per minute. */
export interface AimdState {
  kind: 'aimd'
  quotaPerMinute: number
  ratePerMinute: number
  /** Accepted since the last increase or cut. */
  run: number
  episode: Episode
  cuts: number
}

export function startAimd(quotaPerMinute: number, { start }: AimdSettings): AimdState {
  const ratePerMinute = (quotaPerMinute * start) / 100
  return { kind: 'aimd', quotaPerMinute, ratePerMinute, run: 0, episode: noEpisode(), cuts: 0 }
}

export function stepAimd(law: AimdState, feedback: Feedback, settings: AimdSettings): AimdState {
  const { hearing, episode } = hear(law.episode, feedback)
  const next = { ...law, episode, ratePerMinute: bounded(law, law.ratePerMinute, settings) }
  if (hearing === 'cut') {
    const ratePerMinute = bounded(law, law.ratePerMinute * settings.decrease, settings)
    return { ...next, ratePerMinute, run: 0, cuts: law.cuts + 1 }
  }
  if (hearing !== 'calm' || !feedback.limited) return next
  const run = law.run + feedback.accepted
  const runs = Math.floor(run / settings.successes)
  const ratePerMinute = bounded(law, law.ratePerMinute * settings.increase ** runs, settings)
  return { ...next, ratePerMinute, run: run - runs * settings.successes }
}

function bounded({ quotaPerMinute }: AimdState, ratePerMinute: number, { min, max }: AimdSettings): number {
  return Math.min((quotaPerMinute * max) / 100, Math.max((quotaPerMinute * min) / 100, ratePerMinute))
}
