// What `npm audit --json` says, taken apart: what must be mended, what may wait, or that nobody could say.

export type Verdict = { kind: 'checked'; faults: string[]; notes: string[] } | { kind: 'not-checked'; why: string }

interface Report {
  vulnerabilities?: Record<string, { severity: string; range?: string; fixAvailable?: boolean | { version?: string } }>
  message?: string
  error?: { summary?: string; code?: string }
}

const MUST_BE_MENDED = new Set(['high', 'critical'])

export function readAudit(output: string): Verdict {
  const report = parse(output)
  if (!report?.vulnerabilities) {
    return { kind: 'not-checked', why: report?.error?.summary || report?.message || 'npm audit gave no report' }
  }
  const lines = Object.entries(report.vulnerabilities).map(([name, { severity, range, fixAvailable }]) => ({
    severity,
    line: `${name} ${range ?? ''}: ${severity}; ${fixAvailable ? 'npm audit fix has a remedy' : 'no fix yet: replace it, or write down why it cannot be reached'}`,
  }))
  const isFault = ({ severity }: { severity: string }) => MUST_BE_MENDED.has(severity)
  return {
    kind: 'checked',
    faults: lines.filter(isFault).map(one => one.line),
    notes: lines.filter(one => !isFault(one)).map(one => one.line),
  }
}

function parse(output: string): Report | undefined {
  try {
    return JSON.parse(output) as Report
  } catch {
    return undefined
  }
}
