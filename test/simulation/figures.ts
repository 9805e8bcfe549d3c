// The measures of a run: percentiles, Jain's index, means over seeds.

/** NaN of nothing. `part` in [0, 1]. */
export function percentile(values: number[], part: number): number {
  if (values.length === 0) return Number.NaN
  const sorted = Float64Array.from(values).sort()
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(part * sorted.length) - 1))]!
}

/** 1 when all are equal, 1/n when one has everything (Jain, Chiu and Hawe, 1984). */
export function jain(values: number[]): number {
  const total = sum(values)
  return (total * total) / (values.length * sum(values.map(value => value * value)))
}

export function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

export function mean(values: number[]): number {
  return sum(values) / values.length
}

export type Figures = Record<string, number>

/** Each figure's mean over the runs that have it. */
export function means(runs: Figures[]): Figures {
  const names = [...new Set(runs.flatMap(run => Object.keys(run)))]
  return Object.fromEntries(
    names.map(name => [name, mean(runs.map(run => run[name] ?? Number.NaN).filter(value => !Number.isNaN(value)))]),
  )
}
