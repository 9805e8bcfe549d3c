// What Sluice does when Bedrock pushes back, and what it lets in meanwhile.
import { z } from 'zod'
import { MINUTE_MS, ms } from './values.ts'

export const retries = z
  .strictObject({
    maxAttempts: z.int().min(1).max(4).default(4).describe('Calls sent for one request, throttled ones included.'),
    baseMs: ms(MINUTE_MS).min(1).default(100).describe('A wait is drawn between 0 and this, doubled each time.'),
    longestMs: ms(10 * MINUTE_MS)
      .min(1)
      .default(20_000)
      .describe('… and never above this.'),
    budgetShare: z.number().min(0).max(1).default(0.1).describe("Retries, as a part of a model's requests."),
    budgetPerS: z.number().min(0).max(1000).default(1).describe('… and so many a second besides.'),
  })
  .prefault({})
  .describe('What failed at Bedrock before its first byte is sent again, to another pool if there is one.')

export const breaker = z
  .strictObject({
    failures: z.int().min(1).max(1000).default(5).describe('Consecutive failures that shut a pool.'),
    failureShare: z.number().min(0.01).max(1).default(0.5).describe('… or such a part of the calls …'),
    minCalls: z.int().min(1).max(100_000).default(20).describe('… when at least so many …'),
    windowMs: ms(10 * MINUTE_MS)
      .min(1000)
      .default(30_000)
      .describe('… ended within this time.'),
    shutMs: ms(10 * MINUTE_MS)
      .min(100)
      .default(5_000)
      .describe('How long it stays shut at first; doubled each time it fails again.'),
    longestShutMs: ms(60 * MINUTE_MS)
      .min(100)
      .default(MINUTE_MS)
      .describe('… up to this.'),
    rampMs: ms(10 * MINUTE_MS)
      .default(30_000)
      .describe('From a quarter of the quota to all of it, after it has opened again.'),
  })
  .prefault({})
  .describe('A pool that fails is left alone and tried again with 1, 3, then 10 requests, of all gateways together.')

export const stale = z
  .strictObject({
    maxAgeMs: ms(7 * 24 * 60 * MINUTE_MS)
      .min(1000)
      .default(60 * MINUTE_MS)
      .describe('An older answer is not given any more.'),
    maxAnswerBytes: z
      .int()
      .min(1024)
      .max(16 * 1024 * 1024)
      .default(256 * 1024)
      .describe('A larger answer is not kept.'),
    maxBytes: z
      .int()
      .min(1024)
      .max(16 * 1024 * 1024 * 1024)
      .default(64 * 1024 * 1024)
      .describe('Of all answers kept: the oldest go first. With Redis: of each model.'),
    shared: z.boolean().default(false).describe("Whether a client may get the answer to another client's request."),
  })
  .prefault({})
  .describe('Answers kept for the `stale` fallback, in Redis when there is one.')

export const stages = z
  .strictObject({
    maxReceivingBytes: z
      .int()
      .min(1024 * 1024)
      .max(64 * 1024 * 1024 * 1024)
      .default(512 * 1024 * 1024)
      .describe(
        'Bytes of requests held at once: bodies and 16 KB besides, as they arrive and to the end of the answer; of a body still to come at most 64 KB. Where `auth.mode` is `keys` and there are several clients, the requests of one hold at most four times what is free to their class.',
      ),
    maxPricing: z
      .int()
      .min(1)
      .max(100_000)
      .default(256)
      .describe('Bodies of 128 KB and more that are read off the event loop, or wait for that.'),
    maxSendsPerPool: z.int().min(1).max(65_536).default(512).describe('Calls to one pool at once, of this gateway.'),
    maxWaitingSends: z
      .int()
      .min(0)
      .max(100_000)
      .default(512)
      .describe('Requests whose turn has come that may wait for one of these calls to end.'),
    maxLoopDelayMs: ms(10_000)
      .min(5)
      .default(200)
      .describe('A later event loop sheds `low` requests; twice as late `normal` ones; four times as late all.'),
  })
  .prefault({})
  .describe(
    'Bounds of the stages a request goes through; a full stage refuses (503) and says when to come back. The last fifth of what is received and priced is not for `low`, the last tenth for `high` alone.',
  )

/** A body that could never be let in would be refused with a time to come back, for ever. */
export function checkStages(
  config: { server: { maxBodyBytes: number }; stages: { maxReceivingBytes: number } },
  context: z.RefinementCtx,
): void {
  const { maxBodyBytes } = config.server
  const least = Math.ceil((4 / 3) * maxBodyBytes)
  if (config.stages.maxReceivingBytes >= least) return
  const message = `at least ${least}, a third more than server.maxBodyBytes (${maxBodyBytes})`
  context.addIssue({ code: 'custom', path: ['stages', 'maxReceivingBytes'], message })
}
