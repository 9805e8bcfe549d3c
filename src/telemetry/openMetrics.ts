// OpenMetrics 1.0 for scrapers that ask for it, as Prometheus does: the only text format with exemplars, by which a slow bucket
// leads to a trace. Made from the older format, from which it differs in the names of counters' families and in its end.

export function wantsOpenMetrics(accept = ''): boolean {
  return accept.includes('application/openmetrics-text')
}

/** `text`: Prometheus's text format 0.0.4. */
export function openMetricsText(text: string): string {
  const families = text.replace(
    /^# HELP (\S+?)_total (.*)\n# TYPE \1_total counter$/gm,
    '# HELP $1 $2\n# TYPE $1 counter',
  )
  return `${families.replace(/\n{2,}/g, '\n').trimEnd()}\n# EOF\n`
}
