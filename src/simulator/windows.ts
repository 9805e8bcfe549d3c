// The three shapes a quota's minute may have; AWS documents none of them. Each counts units in use; the limit is given with
// every question, so a quota can change while it runs. Time that steps back is read as time standing still.
import type { WindowKind } from './settings.ts'

const MINUTE_MS = 60_000

export interface Window {
  /** Units in use now, of `perMinute`. */
  used(nowMs: number, perMinute: number): number
  /** Takes `units`; the returned function corrects them, once, when the real number is known. */
  take(nowMs: number, units: number): Settle
}

export type Settle = (units: number) => void

export function newWindow(kind: WindowKind): Window {
  if (kind === 'token-bucket') return new TokenBucket()
  return kind === 'fixed' ? new FixedWindow() : new SlidingWindow()
}

/** Holds a minute of quota and refills evenly. Counted from the top: `used` drains to 0, and past the limit it is debt. */
class TokenBucket implements Window {
  #used = 0
  #atMs: number | undefined

  used(nowMs: number, perMinute: number): number {
    this.#atMs ??= nowMs
    const elapsedMs = nowMs - this.#atMs
    if (elapsedMs > 0) {
      this.#used = Math.max(0, this.#used - (elapsedMs * perMinute) / MINUTE_MS)
      this.#atMs = nowMs
    }
    return this.#used
  }

  take(_nowMs: number, units: number): Settle {
    this.#used += units
    return settled => {
      this.#used = Math.max(0, this.#used + settled - units)
    }
  }
}

/** Whole minutes of the clock. A correction after its minute is over is dropped: that minute is never asked about again. */
class FixedWindow implements Window {
  #used = 0
  #minute = Number.NEGATIVE_INFINITY

  used(nowMs: number): number {
    this.#turn(nowMs)
    return this.#used
  }

  take(nowMs: number, units: number): Settle {
    this.#turn(nowMs)
    this.#used += units
    const minute = this.#minute
    return settled => {
      if (minute === this.#minute) this.#used += settled - units
    }
  }

  #turn(nowMs: number): void {
    const minute = Math.floor(nowMs / MINUTE_MS)
    if (minute <= this.#minute) return
    this.#minute = minute
    this.#used = 0
  }
}

interface Entry {
  atMs: number
  units: number
  expired: boolean
}

/** Exactly the last 60 s, each taking for itself: one taken at t counts in [t, t + 60 s). Amortised O(1) a call. */
class SlidingWindow implements Window {
  #log: Entry[] = []
  #first = 0
  #used = 0
  #nowMs = Number.NEGATIVE_INFINITY

  used(nowMs: number): number {
    this.#expire(nowMs)
    return this.#used
  }

  take(nowMs: number, units: number): Settle {
    this.#expire(nowMs)
    const entry: Entry = { atMs: this.#nowMs, units, expired: false }
    this.#log.push(entry)
    this.#used += units
    return settled => {
      if (!entry.expired) this.#used += settled - entry.units
      entry.units = settled
    }
  }

  #expire(nowMs: number): void {
    this.#nowMs = Math.max(this.#nowMs, nowMs)
    for (let entry = this.#log[this.#first]; entry; entry = this.#log[this.#first]) {
      if (entry.atMs + MINUTE_MS > this.#nowMs) break
      entry.expired = true
      this.#used -= entry.units
      this.#first += 1
    }
    if (this.#first === this.#log.length) this.#used = 0
    // Dropping the dead half at once moves every entry at most once on average.
    if (this.#first < 64 || this.#first * 2 < this.#log.length) return
    this.#log = this.#log.slice(this.#first)
    this.#first = 0
  }
}
