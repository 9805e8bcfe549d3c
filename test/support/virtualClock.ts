// Time that passes only when a test says so. Tasks run in order of time, those of one moment in the order they were set.
import type { Clock } from '../../src/domain/clock.ts'

interface Task {
  atMs: number
  order: number
  run: () => void
  cancelled: boolean
}

export class VirtualClock implements Clock {
  #nowMs: number
  #order = 0
  #tasks: Task[] = []

  readonly #turns: number

  /** `turns` of the microtask queue after each task: enough for the longest chain of awaits that has to run out. */
  constructor(startMs = Date.UTC(2026, 10, 22), turns = 10) {
    this.#nowMs = startMs
    this.#turns = turns
  }

  nowMs(): number {
    return this.#nowMs
  }

  after(delayMs: number, run: () => void): () => void {
    const task: Task = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order++, run, cancelled: false }
    this.#push(task)
    return () => {
      task.cancelled = true
    }
  }

  /** Lets `ms` pass. */
  async advance(ms: number): Promise<void> {
    await this.runUntil(this.#nowMs + ms)
  }

  /** Runs what is due by `atMs`, letting promises settle between tasks, and stands there. */
  async runUntil(atMs: number): Promise<void> {
    await settled(this.#turns)
    for (let task = this.#next(atMs); task; task = this.#next(atMs)) {
      this.#nowMs = Math.max(this.#nowMs, task.atMs)
      task.run()
      await settled(this.#turns)
    }
    this.#nowMs = Math.max(this.#nowMs, atMs)
  }

  #next(atMs: number): Task | undefined {
    while (this.#tasks[0] && (this.#tasks[0].cancelled || this.#tasks[0].atMs <= atMs)) {
      const task = this.#pop()
      if (!task.cancelled) return task
    }
    return undefined
  }

  /** A binary heap: simulations keep thousands of tasks waiting. */
  #push(task: Task): void {
    const heap = this.#tasks
    let i = heap.push(task) - 1
    while (i > 0) {
      const parent = (i - 1) >> 1
      if (isBefore(heap[parent]!, task)) break
      heap[i] = heap[parent]!
      i = parent
    }
    heap[i] = task
  }

  #pop(): Task {
    const heap = this.#tasks
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return first
    let i = 0
    for (let child = 1; child < heap.length; child = 2 * i + 1) {
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1
      if (isBefore(last, heap[child]!)) break
      heap[i] = heap[child]!
      i = child
    }
    heap[i] = last
    return first
  }
}

function isBefore(a: Task, b: Task): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

async function settled(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await Promise.resolve()
}
