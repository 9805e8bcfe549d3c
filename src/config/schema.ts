// Each setting once: type, unit, default, bounds, meaning. `sluice check` and docs/configuration.md are made from it.
import { z } from 'zod'
import { parseRedisUrl } from '../redis/url.ts'
import { auth, checkAuth } from './authSchema.ts'
import { checkLimits, client } from './clientSchema.ts'
import { ingress, trustedProxies } from './ingressSchema.ts'
import { checkFallbacks, model } from './modelSchema.ts'
import { breaker, checkStages, retries, stages, stale } from './pushbackSchema.ts'
import { simulator } from './simulatorSchema.ts'
import { MINUTE_MS, ms } from './values.ts'

const server = z
  .strictObject({
    host: z.string().min(1).default('127.0.0.1').describe('Address to listen on.'),
    port: z.int().min(0).max(65535).default(8080).describe('Port to listen on; 0 picks a free one.'),
    tls: z
      .strictObject({
        certFile: z.string().min(1).describe('PEM file of the certificate chain.'),
        keyFile: z.string().min(1).describe('PEM file of its private key.'),
      })
      .optional()
      .describe('Absent: plain HTTP/1.1 and prior-knowledge HTTP/2. Present: both by ALPN.'),
    maxBodyBytes: z
      .int()
      .min(1024)
      .max(100 * 1024 * 1024)
      .default(25 * 1024 * 1024)
      .describe('A larger request body is refused (413).'),
    maxHeaderBytes: z
      .int()
      .min(8192)
      .max(1024 * 1024)
      .default(32 * 1024)
      .describe('Larger request headers are refused (431).'),
    headersTimeoutMs: ms(10 * MINUTE_MS)
      .min(100)
      .default(15_000)
      .describe('A client must have sent its headers by then.'),
    requestTimeoutMs: ms(60 * MINUTE_MS)
      .min(100)
      .default(5 * MINUTE_MS)
      .describe('A client must have sent its whole request by then.'),
    maxConnections: z
      .int()
      .min(1)
      .max(1_000_000)
      .default(16_384)
      .describe('Open connections; one more is closed at once.'),
    idleTimeoutMs: ms(60 * MINUTE_MS)
      .min(100)
      .default(75_000)
      .describe('An idle connection is closed after it; keep it above what stands in front.'),
    stallTimeoutMs: ms(60 * MINUTE_MS)
      .min(100)
      .default(5 * MINUTE_MS)
      .describe('A client that takes no byte of its answer for so long is cut off.'),
    drainMs: ms(60 * MINUTE_MS)
      .default(30_000)
      .describe('After SIGTERM, requests in flight have this long to finish.'),
    trustedProxies,
    watchConfig: z
      .boolean()
      .default(true)
      .describe('Takes over a changed config by itself, within two seconds. `false`: at SIGHUP only.'),
  })
  .prefault({})
  .describe('The front door.')

const upstream = z
  .strictObject({
    connectTimeoutMs: ms(5 * MINUTE_MS)
      .min(1)
      .default(5_000)
      .describe('TCP and TLS set-up.'),
    headersTimeoutMs: ms(120 * MINUTE_MS)
      .min(1)
      .default(15 * MINUTE_MS)
      .describe('From the request to the first byte of the answer: models may think for minutes.'),
    idleTimeoutMs: ms(120 * MINUTE_MS)
      .min(1)
      .default(5 * MINUTE_MS)
      .describe('Longest silence in the middle of an answer.'),
    maxConnections: z.int().min(1).max(65_536).default(1024).describe('Open connections to one endpoint.'),
    maxUnattended: z
      .int()
      .min(0)
      .max(65_536)
      .default(0)
      .describe(
        'Calls whose client has left that run on, of this gateway: Bedrock charges the whole answer anyway, and only who hears its end knows how much. What is beyond it is broken off, and charged its reservation.',
      ),
  })
  .prefault({})
  .describe('How Bedrock is called.')

const redis = z
  .strictObject({
    url: z
      .string()
      .superRefine((text, context) => {
        const parsed = parseRedisUrl(text)
        if (parsed.kind === 'faulty') context.addIssue({ code: 'custom', message: parsed.expected })
      })
      .describe(
        '`redis://[user:password@]host:6379[/database]`, `rediss://` for TLS; `redis+cluster://host:6379,host:6379` or `rediss+cluster://` for a Redis Cluster; `unix:///path`.',
      ),
    caFile: z
      .string()
      .min(1)
      .optional()
      .describe("PEM file of the authority behind Redis's certificate. Absent: those Node trusts."),
    commandTimeoutMs: ms(10_000)
      .min(10)
      .default(250)
      .describe('A command without an answer by then has failed; after a missed PING Redis counts as away.'),
    connectTimeoutMs: ms(MINUTE_MS).min(50).default(2_000).describe('TCP and TLS set-up of one attempt.'),
  })
  .optional()
  .describe('Where gateways share their ledger: Redis 7 or later, or Valkey 8. Absent: the ledger is in memory.')

const waits = z
  .strictObject({
    high: ms(60 * MINUTE_MS)
      .default(30_000)
      .describe('ms a `high` request may wait.'),
    normal: ms(60 * MINUTE_MS)
      .default(30_000)
      .describe('ms a `normal` request may wait.'),
    low: ms(60 * MINUTE_MS)
      .default(300_000)
      .describe('ms a `low` request may wait.'),
  })
  .prefault({})
  .describe('Longest wait by priority class; x-sluice-max-wait-ms may ask for less.')

const admission = z
  .strictObject({
    maxWaitMs: waits,
    maxWaiting: z.int().min(0).max(1_000_000).default(10_000).describe('Requests that may wait for one model.'),
    maxWaitingPerClient: z
      .int()
      .min(0)
      .max(1_000_000)
      .default(1000)
      .describe('… of them from one client, all its users together.'),
    burst: z
      .number()
      .min(0.001)
      .max(0.5)
      .default(0.05)
      .describe("Part of a minute's quota that may pass at once; the rest comes as a steady rate."),
  })
  .prefault({})
  .describe('When requests wait and when they are refused.')

export const configSchema = z
  .strictObject({
    server,
    upstream,
    redis,
    models: z.array(model).min(1).describe('Matched in order.'),
    admission,
    retries,
    breaker,
    stale,
    stages,
    ingress,
    auth,
    clients: z.array(client).default([]).describe('A client that is not listed has the defaults.'),
    simulator,
  })
  .superRefine((config, context) => {
    unique(config.models, 'models', context)
    unique(config.clients, 'clients', context)
    const { headersTimeoutMs, requestTimeoutMs } = config.server
    if (requestTimeoutMs < headersTimeoutMs) {
      const message = `at least server.headersTimeoutMs (${headersTimeoutMs})`
      context.addIssue({ code: 'custom', path: ['server', 'requestTimeoutMs'], message })
    }
    checkStages(config, context)
    config.models.forEach((one, i) => {
      unique(one.pools, `models.${i}.pools`, context)
    })
    checkFallbacks(config.models, context)
    checkLimits(config.clients, config.models, context)
    checkAuth(config, context)
  })

export type Config = z.infer<typeof configSchema>

function unique(named: { name: string }[], where: string, context: z.RefinementCtx): void {
  const seen = new Set<string>()
  named.forEach((one, i) => {
    if (seen.has(one.name)) {
      const path = [...where.split('.').map(part => (/^\d+$/.test(part) ? Number(part) : part)), i, 'name']
      context.addIssue({ code: 'custom', path, message: 'a name not used before' })
    }
    seen.add(one.name)
  })
}
