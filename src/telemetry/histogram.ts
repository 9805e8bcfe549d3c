// A histogram that is observed by three additions. prom-client's hashes the labels and makes a closure at every one, which
// cost more than routing a request; here whoever observes holds the tally of its labels. Written as Prometheus reads it
// (text format 0.0.4), and with exemplars as OpenMetrics 1.0 has them.

/** Upper bounds of the buckets, in seconds, by what is measured. */
export const BUCKETS = {
  /** Nothing when there is room, minutes when there is none; a bound at each default deadline (30 s, 5 min). */
  wait: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300],
  /** A small model begins in 0.2 s, a thinking one in a minute: most bounds are where people notice. */
  firstByte: [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120],
  /** From a kept answer to a long one after a long wait. */
  duration: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 900],
  /** A stage is passed in no time, or holds a long answer. */
  stage: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 900],
  /** A script in Redis, in the same building or across a sea. */
  ledgerCall: [0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
} satisfies Record<string, readonly number[]>

/** What was observed under one set of labels. */
export class Tally {
  readonly #bounds: readonly number[]
  /** By bucket, not cumulated; the last is for what no bound holds. */
  readonly #counts: number[]
  /** By bucket, the last trace that fell into it. */
  readonly #exemplars: { traceId: string; seconds: number }[] = []
  #sum = 0

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Array(bounds.length + 1).fill(0)
  }

  /** `traceId`: where to read more of this one; absent when nothing was traced. */
  observe(seconds: number, traceId?: string): void {
    let bucket = 0
    while (bucket < this.#bounds.length && seconds > this.#bounds[bucket]!) bucket += 1
    this.#counts[bucket]! += 1
    this.#sum += seconds
    if (traceId !== undefined) this.#exemplars[bucket] = { traceId, seconds }
  }

  lines(name: string, labels: string, withExemplars: boolean): string[] {
    let count = 0
    const buckets = this.#counts.map((inBucket, i) => {
      count += inBucket
      const exemplar = withExemplars ? this.#exemplars[i] : undefined
      const trace = exemplar ? ` # {trace_id="${escaped(exemplar.traceId)}"} ${exemplar.seconds}` : ''
      return `${name}_bucket{le="${this.#bounds[i] ?? '+Inf'}",${labels}} ${count}${trace}`
    })
    return [...buckets, `${name}_sum{${labels}} ${this.#sum}`, `${name}_count{${labels}} ${count}`]
  }
}

export class Histogram<L extends string> {
  readonly #name: string
  readonly #help: string
  readonly #labelNames: readonly L[]
  readonly #bounds: readonly number[]
  readonly #tallies = new Map<string, Tally>()

  constructor(name: string, help: string, labelNames: readonly L[], bounds: readonly number[]) {
    this.#name = name
    this.#help = help
    this.#labelNames = labelNames
    this.#bounds = bounds
  }

  /** The same tally for the same labels, for as long as the process runs. */
  tally(labels: Record<L, string>): Tally {
    const text = this.#labelNames.map(name => `${name}="${escaped(labels[name])}"`).join(',')
    let tally = this.#tallies.get(text)
    if (!tally) {
      tally = new Tally(this.#bounds)
      this.#tallies.set(text, tally)
    }
    return tally
  }

  text(withExemplars: boolean): string {
    const lines = [...this.#tallies].flatMap(([labels, tally]) => tally.lines(this.#name, labels, withExemplars))
    return [`# HELP ${this.#name} ${this.#help}`, `# TYPE ${this.#name} histogram`, ...lines].join('\n')
  }
}

function escaped(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/"/g, '\\"')
}
