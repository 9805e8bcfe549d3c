// A whole Sluice on a free port, as main would start it, for tests on real sockets.
import { readFileSync } from 'node:fs'
import { Writable } from 'node:stream'
import { formatFault, parseConfig } from '../../src/config/load.ts'
import type { Config } from '../../src/config/schema.ts'
import { readSecrets } from '../../src/config/secrets.ts'
import { type Environment, type Sluice, startSluice } from '../../src/serve.ts'
import { createLog } from '../../src/telemetry/log.ts'

export interface TestSluice extends Sluice {
  /** Every line logged so far, parsed. */
  logged(): Record<string, unknown>[]
}

/** `yaml` is a whole config; the port is a free one whatever it says. */
export async function startTestSluice(
  yaml: string,
  environment: Environment = {},
  level = 'info',
): Promise<TestSluice> {
  const result = parseConfig(yaml, 'test.yaml', { PORT: '0', HOST: '127.0.0.1' })
  if (result.kind === 'faulty') throw new Error(result.faults.map(formatFault).join('\n'))
  const found = readSecrets(result.config, { variables: process.env, read: path => readFileSync(path, 'utf8') })
  if (found.kind === 'faulty') throw new Error(JSON.stringify(found.faults))
  let text = ''
  const sink = new Writable({
    write(chunk, _encoding, done) {
      text += chunk
      done()
    },
  })
  const sluice = await startSluice(patient(result.config), createLog(level, sink), {
    secrets: found.secrets,
    ...environment,
  })
  const logged = () =>
    text
      .split('\n')
      .filter(Boolean)
      .map(line => JSON.parse(line))
  return { ...sluice, reload: (config, secrets) => sluice.reload(patient(config), secrets), logged }
}

/** A machine with too few cores is no reason to be turned away, unless that is what is tested. */
function patient(config: Config): Config {
  const { stages } = config
  return stages.maxLoopDelayMs === 200 ? { ...config, stages: { ...stages, maxLoopDelayMs: 10_000 } } : config
}

/** One catch-all model on `endpoint`, without quotas unless given. */
export function oneModel(endpoint: string, quotas = '', rest = ''): string {
  return `models:
  - name: any
    modelIds: ["*"]
    outputBurndown: 5
    maxOutputTokens: 1000
    pools: [{ name: only, region: us-east-1, endpoint: "${endpoint}"${quotas && `, ${quotas}`} }]
${rest}`
}
