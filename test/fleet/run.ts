// `npm run fleet -- [--seconds N] [--mishap NAME] …`: the fleet by hand, for as long as you like; its figures as JSON.
import { parseArgs } from 'node:util'
import { MISHAPS, type Mishap, runFleet } from './fleet.ts'

const { values } = parseArgs({
  options: {
    gateways: { type: 'string', default: '3' },
    clients: { type: 'string', default: '20' },
    seconds: { type: 'string', default: '180' },
    'warm-up': { type: 'string', default: '20' },
    rpm: { type: 'string', default: '600' },
    tpm: { type: 'string', default: '1000000' },
    window: { type: 'string', default: 'sliding' },
    configured: { type: 'string', default: '1' },
    mishap: { type: 'string' },
    after: { type: 'string', default: '30' },
  },
})
if (values.mishap && !MISHAPS.includes(values.mishap as Mishap))
  throw new Error(`--mishap: expected one of ${MISHAPS.join(', ')}, found ${values.mishap}`)

const figures = await runFleet({
  gateways: Number(values.gateways),
  clients: Number(values.clients),
  seconds: Number(values.seconds),
  warmUpSeconds: Number(values['warm-up']),
  requestsPerMinute: Number(values.rpm),
  tokensPerMinute: Number(values.tpm),
  configured: Number(values.configured),
  window: values.window as 'sliding',
  ...(values.mishap && { mishap: { kind: values.mishap as Mishap, afterSeconds: Number(values.after) } }),
})
process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`)
