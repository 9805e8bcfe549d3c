// The command line of the simulations: npm run simulate -- <scenario> [--seed N | --seeds a,b,c] [--gateways N] [--load X]
// [--svg FILE] [--list]. Prints a table, one column a seed, and the means.
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { drawChart } from './chart.ts'
import { type Figures, means } from './figures.ts'
import { SCENARIOS, type Scenario, scenarioNamed, TABLES } from './scenarios.ts'

const DEFAULT_SEEDS = '1,2,3,4'
const USAGE =
  'npm run simulate -- <scenario> [--seed N | --seeds a,b,c] [--gateways N] [--load X] [--svg FILE] [--list]'
const say = (text: string) => process.stdout.write(`${text}\n`)

process.exitCode = main()

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: 'string' },
      seeds: { type: 'string' },
      svg: { type: 'string' },
      gateways: { type: 'string' },
      load: { type: 'string' },
      list: { type: 'boolean' },
    },
  })
  if (values.list) return list()
  const [name] = positionals
  const scenario = name === undefined ? undefined : scenarioNamed(name)
  const seeds = (values.seeds ?? values.seed ?? DEFAULT_SEEDS).split(',').map(Number)
  const compared = TABLES.find(one => one.name === name)
  if (compared && seeds.every(Number.isFinite)) {
    say(`${compared.about}; seeds ${seeds.join(',')}\n${compared.table(seeds)}`)
    return 0
  }
  const numbers = [...seeds, Number(values.gateways ?? 1), Number(values.load ?? 1)]
  if (!scenario || numbers.some(value => !Number.isFinite(value))) {
    say(name && !scenario ? `no scenario ${name}; --list shows them` : USAGE)
    return 1
  }
  const obstacle = scenario.obstacle?.()
  if (obstacle) {
    say(obstacle)
    return 0
  }
  return run(scenario, seeds, {
    gateways: values.gateways === undefined ? undefined : Number(values.gateways),
    load: Number(values.load ?? 1),
    svg: values.svg,
  })
}

function list(): number {
  const all = [...SCENARIOS, ...TABLES]
  const width = Math.max(...all.map(({ name }) => name.length))
  for (const { name, about } of all) say(`${name.padEnd(width)}  ${about}`)
  return 0
}

interface RunSettings {
  gateways: number | undefined
  load: number
  svg: string | undefined
}

function run(scenario: Scenario, seeds: number[], { gateways, load, svg }: RunSettings): number {
  const outcomes = seeds.map(seed => scenario.run({ seed, gateways, load }))
  say(`${scenario.name}: ${scenario.about}`)
  table(
    seeds,
    outcomes.map(outcome => outcome.figures),
  )
  const broken = outcomes.flatMap((outcome, i) => outcome.broken.map(fault => `seed ${seeds[i]}: ${fault}`))
  say(broken.length > 0 ? `broken: ${broken.join('; ')}` : 'nothing promised was broken')
  if (svg) {
    writeFileSync(svg, drawChart(`${scenario.name}, seed ${seeds[0]}: ${scenario.about}`, outcomes[0]!))
    say(`${svg} shows seed ${seeds[0]}`)
  }
  return broken.length > 0 ? 1 : 0
}

function table(seeds: number[], runs: Figures[]): void {
  const all = means(runs)
  const header = ['', ...(seeds.length > 1 ? ['mean'] : []), ...seeds.map(seed => `seed ${seed}`)]
  const rows = Object.keys(all).map(name => [
    name,
    ...(seeds.length > 1 ? [shown(all[name])] : []),
    ...runs.map(figures => shown(figures[name])),
  ])
  const widths = header.map((_, column) => Math.max(...[header, ...rows].map(row => row[column]!.length)))
  for (const row of [header, ...rows])
    say(row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('  '))
}

function shown(value: number | undefined): string {
  if (value === undefined || Number.isNaN(value)) return '–'
  return Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(3)
}
