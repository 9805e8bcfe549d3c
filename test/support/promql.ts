// What a PromQL query names, compared with what a scrape has: metrics, their labels, and the values of labels that the code
// bounds. Tolerant of everything else; promtool checks the grammar.
import type { Family } from './fullScrape.ts'

const KEYWORDS = new Set([
  'by',
  'without',
  'on',
  'ignoring',
  'group_left',
  'group_right',
  'and',
  'or',
  'unless',
  'bool',
])
/** What Prometheus itself adds, to every target and to every rule that fires. */
const TARGET_LABELS = ['instance', 'job']
const OWN_OF_PROMETHEUS = new Map([
  ['up', []],
  ['ALERTS', ['alertname', 'alertstate']],
])
/** Labels of which a full scrape has every value there is. */
const ENUMERATED = new Set(['code', 'outcome', 'dimension', 'priority', 'stage', 'kind', 'to', 'limit', 'status'])

/** `recorded`: names that recording rules make. Empty when the query asks only for what there is. */
export function queryFaults(query: string, families: Map<string, Family>, recorded: string[] = []): string[] {
  const { selectors, groupings } = readQuery(query)
  const faults: string[] = []
  const groupable = new Set(TARGET_LABELS)
  if (selectors.length === 0) faults.push(`${query}: names no metric`)
  for (const { metric, matchers } of selectors) {
    if (recorded.includes(metric)) continue
    const labels = labelsOf(metric, families)
    if (!labels) {
      faults.push(`${metric}: no such metric`)
      continue
    }
    for (const label of labels.keys()) groupable.add(label)
    for (const { label, operator, value } of matchers) {
      const values = labels.get(label)
      if (!values && !TARGET_LABELS.includes(label)) faults.push(`${metric}: has no label ${label}`)
      else if (values && ENUMERATED.has(label) && metric.startsWith('sluice_'))
        faults.push(...neverSeen(value, operator, values).map(one => `${metric}: ${label} is never ${one}`))
    }
  }
  return [...faults, ...groupings.filter(label => !groupable.has(label)).map(label => `nothing has a label ${label}`)]
}

interface Selector {
  metric: string
  matchers: { label: string; operator: string; value: string }[]
}

export function readQuery(query: string): { selectors: Selector[]; groupings: string[] } {
  const groupings: string[] = []
  const bare = query
    .replace(/\[[^\]]*\]|\boffset\s+\S+/g, ' ')
    .replace(/\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)/g, (_all, labels: string) => {
      groupings.push(...labels.split(/[\s,]+/).filter(Boolean))
      return ' by '
    })
  const selectors: Selector[] = []
  for (const [, metric, , braces = ''] of bare.matchAll(
    /(?<![\w.:])([a-zA-Z_:][\w:]*)(?!\w)(?!\s*(?:\(|by\b))(\s*(\{(?:"(?:\\.|[^"\\])*"|[^}"])*\}))?|"(?:\\.|[^"\\])*"/g,
  )) {
    if (metric === undefined || KEYWORDS.has(metric)) continue
    const matchers = [...braces.matchAll(/(\w+)\s*(=~|!~|!=|=)\s*"((?:\\.|[^"\\])*)"/g)]
    selectors.push({
      metric,
      matchers: matchers.map(([, label, operator, value]) => ({ label: label!, operator: operator!, value: value! })),
    })
  }
  return { selectors, groupings }
}

/** With their values; undefined: there is no such metric. */
function labelsOf(sample: string, families: Map<string, Family>): Map<string, Set<string>> | undefined {
  const own = OWN_OF_PROMETHEUS.get(sample)
  if (own) return new Map(own.map(label => [label, new Set()]))
  const [, base, part] = /^(.*)_(bucket|sum|count)$/.exec(sample) ?? []
  const histogram = base === undefined ? undefined : families.get(base)
  if (histogram?.type === 'histogram') {
    const labels = new Map(histogram.labels)
    // Garbage may not have been collected yet.
    if (histogram.samples === 0) labels.set('kind', new Set())
    return part === 'bucket' ? labels.set('le', new Set()) : labels
  }
  const family = families.get(sample)
  return family && family.type !== 'histogram' ? family.labels : undefined
}

/** The alternatives of a matcher that no value of the label fits; what Grafana fills in is not looked at. */
function neverSeen(value: string, operator: string, values: Set<string>): string[] {
  const alternatives = operator.includes('~') ? value.split('|') : [value]
  return alternatives
    .filter(one => !one.includes('$'))
    .filter(one => {
      const pattern = new RegExp(`^(?:${one})$`)
      return ![...values].some(seen => (operator.includes('~') ? pattern.test(seen) : seen === one))
    })
}
