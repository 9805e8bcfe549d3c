// A histogram that is observed by three additions. prom-client's hashes the labels and makes a closure at every one, which
// cost more than routing a request; here whoever observes holds the tally of its labels. Written as Prometheus reads it
// (text format 0.0.4).

/** Waits and LLM latencies span five decades: milliseconds when nothing waits, minutes when models think. */
const BOUNDS_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300]

/** What was observed under one set of labels. */
export class Tally {
  /** By bucket, not cumulated; the last is for what no bound holds. */
  readonly #counts: number[] = new Array(BOUNDS_SECONDS.length + 1).fill(0)
  #sum = 0

  observe(seconds: number): void {
    let bucket = 0
    while (bucket < BOUNDS_SECONDS.length && seconds > BOUNDS_SECONDS[bucket]!) bucket += 1
    this.#counts[bucket]! += 1
    this.#sum += seconds
  }

  lines(name: string, labels: string): string[] {
    let count = 0
    const buckets = this.#counts.map((inBucket, i) => {
      count += inBucket
      return `${name}_bucket{le="${BOUNDS_SECONDS[i] ?? '+Inf'}",${labels}} ${count}`
    })
    return [...buckets, `${name}_sum{${labels}} ${this.#sum}`, `${name}_count{${labels}} ${count}`]
  }
}

export class Histogram<L extends string> {
  readonly #name: string
  readonly #help: string
  readonly #labelNames: readonly L[]
  readonly #tallies = new Map<string, Tally>()

  constructor(name: string, help: string, labelNames: readonly L[]) {
    this.#name = name
    this.#help = help
    this.#labelNames = labelNames
  }

  /** The same tally for the same labels, for as long as the process runs. */
  tally(labels: Record<L, string>): Tally {
    const text = this.#labelNames.map(name => `${name}="${escaped(labels[name])}"`).join(',')
    let tally = this.#tallies.get(text)
    if (!tally) {
      tally = new Tally()
      this.#tallies.set(text, tally)
    }
    return tally
  }

  text(): string {
    const lines = [...this.#tallies].flatMap(([labels, tally]) => tally.lines(this.#name, labels))
    return [`# HELP ${this.#name} ${this.#help}`, `# TYPE ${this.#name} histogram`, ...lines].join('\n')
  }
}

function escaped(value: string): string {
  return value.replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/"/g, '\\"')
}
