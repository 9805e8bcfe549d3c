// A run as a picture: what each group was given over time, and what it waited. Plain SVG, so that it needs no library; every
// point looks at a window of time, because large requests come seldom.
import { percentile, sum } from './figures.ts'
import type { Outcome } from './outcome.ts'
import type { Served } from './sources.ts'

interface Line {
  name: string
  colour: string
  isDashed?: boolean
  points: [x: number, y: number][]
}

interface Axis {
  label: string
  ticks: { at: number; label: string }[]
  /** Where a value lies, from 0 at the bottom or left to 1. */
  place: (value: number) => number
}

interface Box {
  left: number
  top: number
  width: number
  height: number
}

const WIDTH = 960
const HEIGHT = 680
const LEFT = 70
const PLOT_WIDTH = 720
const PANELS: [Box, Box] = [
  { left: LEFT, top: 60, width: PLOT_WIDTH, height: 240 },
  { left: LEFT, top: 370, width: PLOT_WIDTH, height: 240 },
]
const LEGEND_LEFT = LEFT + PLOT_WIDTH + 20
/** Of Okabe and Ito: told apart by the colour-blind too. */
const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000']
const POINTS = 120
const WINDOWS = 15
/** Waits are drawn on a logarithmic scale from a millisecond on. */
const LEAST_S = 0.001
const MOST_S = 1000

export function drawChart(title: string, outcome: Outcome): string {
  const groups = [...new Set(outcome.accounts.map(one => one.source.group))]
  const colours = new Map(groups.map((group, i) => [group, COLOURS[i % COLOURS.length]!]))
  const served = (group: string) =>
    outcome.accounts.filter(one => one.source.group === group).flatMap(one => one.served)
  const { durationS, fairPerS } = outcome
  const shares = groups.map(name => ({
    name,
    colour: colours.get(name)!,
    points: shareLine(served(name), durationS, fairPerS?.get(name) ?? 1),
  }))
  const waits = groups.flatMap(name => {
    const { p50, p99 } = waitLines(served(name), durationS)
    const colour = colours.get(name)!
    return [
      { name: `${name} p99`, colour, points: p99 },
      { name: `${name} p50`, colour, points: p50, isDashed: true },
    ]
  })
  const time = linear(`time, s (each point looks at ${Math.round(durationS / WINDOWS)} s)`, durationS)
  const top = fairPerS ? 2 : Math.max(0.1, ...shares.flatMap(line => line.points.map(([, y]) => y)))
  const shareLabel = fairPerS ? 'service ÷ fluid share' : 'part of the quota'
  const parts = [
    panel(PANELS[0], time, linear(shareLabel, Math.ceil(top * 5) / 5), shares),
    panel(PANELS[1], time, logarithmic('wait, s'), waits),
  ]
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(LEFT, 28, title, 'start', 15),
    ...parts,
    '</svg>\n',
  ].join('\n')
}

function windows(durationS: number): { middleS: number; fromMs: number; toMs: number; spanS: number }[] {
  return Array.from({ length: POINTS + 1 }, (_, i) => {
    const middleS = (i / POINTS) * durationS
    const from = Math.max(0, middleS - durationS / WINDOWS / 2)
    const to = Math.min(durationS, middleS + durationS / WINDOWS / 2)
    return { middleS, fromMs: from * 1000, toMs: to * 1000, spanS: to - from }
  })
}

function shareLine(served: Served[], durationS: number, fairPerS: number): Line['points'] {
  return windows(durationS).map(({ middleS, fromMs, toMs, spanS }) => {
    const costs = served.filter(one => one.atMs >= fromMs && one.atMs < toMs).map(one => one.costS)
    return [middleS, sum(costs) / spanS / fairPerS]
  })
}

function waitLines(served: Served[], durationS: number): { p50: Line['points']; p99: Line['points'] } {
  const p50: Line['points'] = []
  const p99: Line['points'] = []
  for (const { middleS, fromMs, toMs } of windows(durationS)) {
    const waits = served.filter(one => one.atMs >= fromMs && one.atMs < toMs).map(one => one.waitMs / 1000)
    if (waits.length === 0) continue
    p50.push([middleS, percentile(waits, 0.5)])
    p99.push([middleS, percentile(waits, 0.99)])
  }
  return { p50, p99 }
}

/** From 0 to `most`, with about six ticks at round values. */
function linear(label: string, most: number): Axis {
  const rough = most / 6
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = [1, 2, 5, 10].map(factor => factor * power).find(one => one >= rough)!
  const count = Math.floor(most / step + 1e-9)
  const ticks = Array.from({ length: count + 1 }, (_, i) => ({
    at: i * step,
    label: String(Number((i * step).toPrecision(6))),
  }))
  return { label, ticks, place: value => Math.min(1, Math.max(0, value / most)) }
}

function logarithmic(label: string): Axis {
  const decades = Math.log10(MOST_S / LEAST_S)
  const ticks = Array.from({ length: decades + 1 }, (_, i) => {
    const at = LEAST_S * 10 ** i
    return { at, label: String(Number(at.toPrecision(1))) }
  })
  const place = (value: number) => Math.min(1, Math.max(0, Math.log10(Math.max(value, LEAST_S) / LEAST_S) / decades))
  return { label, ticks, place }
}

function panel(box: Box, x: Axis, y: Axis, lines: Line[]): string {
  const { left, top, width, height } = box
  const bottom = top + height
  const toX = (value: number) => left + x.place(value) * width
  const toY = (value: number) => bottom - y.place(value) * height
  const grid = [
    ...y.ticks.flatMap(({ at, label }) => [
      `<line x1="${left}" x2="${left + width}" y1="${toY(at)}" y2="${toY(at)}" stroke="#dddddd"/>`,
      text(left - 8, toY(at) + 4, label, 'end'),
    ]),
    ...x.ticks.flatMap(({ at, label }) => [
      `<line x1="${toX(at)}" x2="${toX(at)}" y1="${bottom}" y2="${bottom + 5}" stroke="#000000"/>`,
      text(toX(at), bottom + 18, label, 'middle'),
    ]),
  ]
  const paths = lines.map(({ colour, isDashed, points }) => {
    const route = points.map(([px, py], i) => `${i === 0 ? 'M' : 'L'}${toX(px).toFixed(1)} ${toY(py).toFixed(1)}`)
    const dash = isDashed ? ' stroke-dasharray="4 3" stroke-width="1"' : ' stroke-width="1.6"'
    return `<path d="${route.join('')}" fill="none" stroke="${colour}"${dash}/>`
  })
  const legend = lines.flatMap(({ name, colour, isDashed }, i) => {
    const at = top + 8 + i * 17
    const dash = isDashed ? ' stroke-dasharray="4 3"' : ''
    return [
      `<line x1="${LEGEND_LEFT}" x2="${LEGEND_LEFT + 24}" y1="${at}" y2="${at}" stroke="${colour}" stroke-width="2"${dash}/>`,
      text(LEGEND_LEFT + 30, at + 4, name, 'start'),
    ]
  })
  return [
    ...grid,
    `<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="none" stroke="#000000"/>`,
    ...paths,
    ...legend,
    text(left + width / 2, bottom + 36, x.label, 'middle'),
    `<g transform="rotate(-90 18 ${top + height / 2})">${text(18, top + height / 2, y.label, 'middle')}</g>`,
  ].join('\n')
}

function text(x: number, y: number, words: string, anchor: 'start' | 'middle' | 'end', size = 12): string {
  const safe = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x}" y="${y}" text-anchor="${anchor}" font-size="${size}">${safe}</text>`
}
