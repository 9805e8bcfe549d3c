// npm run audit: licences and install scripts of what is installed, known vulnerabilities of what is shipped. Exit 1 with a
// line for each fault. Where the registry cannot say what is vulnerable, it says that, and the rest decides.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { dependencyFaults, shippedCount } from './dependencies.ts'
import { readAudit } from './vulnerabilities.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const LONGEST_MS = 60_000

const faults = dependencyFaults(ROOT)
console.log(`licences and install scripts: ${shippedCount(ROOT)} packages are shipped, ${faults.length} faults`)
const audit = spawnSync('npm', ['audit', '--omit=dev', '--json'], { cwd: ROOT, encoding: 'utf8', timeout: LONGEST_MS })
const verdict = readAudit(audit.stdout ?? '')
if (verdict.kind === 'not-checked') console.log(`known vulnerabilities: NOT CHECKED (${verdict.why})`)
else {
  console.log(`known vulnerabilities: ${verdict.faults.length} to mend, ${verdict.notes.length} to know of`)
  for (const note of verdict.notes) console.log(`  ${note}`)
  faults.push(...verdict.faults)
}
for (const fault of faults) console.error(`fault: ${fault}`)
process.exitCode = faults.length > 0 ? 1 : 0
