// Linear programs small enough for the plain tableau: maximise c·x subject to Ax ≤ b, x ≥ 0, with b ≥ 0 (so that x = 0 is
// where to begin). Bland's rule: slow, but it never cycles.

const EPSILON = 1e-9
const MOST_PIVOTS = 10_000

export interface LinearProgram {
  objective: number[]
  rows: { coefficients: number[]; limit: number }[]
}

export interface Optimum {
  value: number
  solution: number[]
}

/** Throws when the program is unbounded. */
export function maximise({ objective, rows }: LinearProgram): Optimum {
  const width = objective.length
  const tableau = rows.map(({ coefficients, limit }, row) => [
    ...coefficients,
    ...rows.map((_, slack) => (slack === row ? 1 : 0)),
    limit,
  ])
  const gains = [...objective.map(gain => -gain), ...rows.map(() => 0), 0]
  const basis = rows.map((_, row) => width + row)
  for (let pivots = 0; ; pivots += 1) {
    const entering = gains.findIndex((gain, column) => column < width + rows.length && gain < -EPSILON)
    if (entering < 0) break
    const leaving = leavingRow(tableau, basis, entering)
    if (leaving < 0 || pivots >= MOST_PIVOTS) throw new Error('the linear program has no optimum')
    pivot([...tableau, gains], leaving, entering)
    basis[leaving] = entering
  }
  const solution = objective.map(() => 0)
  for (const [row, variable] of basis.entries()) if (variable < width) solution[variable] = tableau[row]!.at(-1)!
  return { value: gains.at(-1)!, solution }
}

function leavingRow(tableau: number[][], basis: number[], entering: number): number {
  let best = -1
  let least = Number.POSITIVE_INFINITY
  for (const [row, cells] of tableau.entries()) {
    if (cells[entering]! <= EPSILON) continue
    const ratio = cells.at(-1)! / cells[entering]!
    const isTie = Math.abs(ratio - least) <= EPSILON && best >= 0 && basis[row]! < basis[best]!
    if (ratio < least - EPSILON || isTie) {
      best = row
      least = ratio
    }
  }
  return best
}

function pivot(rows: number[][], leaving: number, entering: number): void {
  const pivotRow = rows[leaving]!
  const divisor = pivotRow[entering]!
  for (const column of pivotRow.keys()) pivotRow[column]! /= divisor
  for (const [row, cells] of rows.entries()) {
    const factor = cells[entering]!
    if (row === leaving || factor === 0) continue
    for (const column of cells.keys()) cells[column]! -= factor * pivotRow[column]!
  }
}
