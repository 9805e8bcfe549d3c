// The kernel of the simulations: a queue of events in virtual time, and chance from a seed. Synchronous and lean, because
// a run is 10^5 to 10^6 events; test/support/virtualClock.ts is for code that awaits.
import { seededDice } from '../../src/simulator/dice.ts'

interface Event {
  atMs: number
  order: number
  run: (() => void) | undefined
}

export class VirtualTime {
  nowMs = 0
  readonly chance: Chance
  #order = 0
  readonly #heap: Event[] = []

  constructor(seed: number) {
    this.chance = new Chance(seed)
  }

  /** Runs `task` after `delayMs`; the returned function cancels it. */
  after(delayMs: number, task: () => void): () => void {
    if (Number.isNaN(delayMs)) throw new Error('a delay must be a number')
    const event: Event = { atMs: this.nowMs + Math.max(0, delayMs), order: this.#order++, run: task }
    this.#push(event)
    return () => {
      event.run = undefined
    }
  }

  /** Runs what is due by `endMs`, in order of time and then of asking. */
  runUntil(endMs: number): void {
    const heap = this.#heap
    while (heap.length > 0 && heap[0]!.atMs <= endMs) {
      const event = this.#pop()
      this.nowMs = event.atMs
      event.run?.()
    }
    this.nowMs = endMs
  }

  #push(event: Event): void {
    const heap = this.#heap
    let place = heap.push(event) - 1
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (isBefore(heap[parent]!, event)) break
      heap[place] = heap[parent]!
      place = parent
    }
    heap[place] = event
  }

  #pop(): Event {
    const heap = this.#heap
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return first
    let place = 0
    for (let child = 1; child < heap.length; child = 2 * place + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1
      if (isBefore(last, heap[child]!)) break
      heap[place] = heap[child]!
      place = child
    }
    heap[place] = last
    return first
  }
}

function isBefore(a: Event, b: Event): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

/** Draws from one seeded stream. */
export class Chance {
  readonly next: () => number

  constructor(...seeds: number[]) {
    this.next = seededDice(...seeds)
  }

  between(least: number, most: number): number {
    return least + (most - least) * this.next()
  }

  below(count: number): number {
    return Math.floor(this.next() * count)
  }

  exponential(mean: number): number {
    return -Math.log(1 - this.next()) * mean
  }

  logNormal(median: number, sigma: number): number {
    const radius = Math.sqrt(-2 * Math.log(1 - this.next()))
    return median * Math.exp(sigma * radius * Math.cos(2 * Math.PI * this.next()))
  }
}
