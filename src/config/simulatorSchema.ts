// The simulator's settings.
import { z } from 'zod'
import { glob, MINUTE_MS, ms, quota } from './values.ts'

const rate = z.number().min(0).max(1).default(0)

const faults = z
  .strictObject({
    errorRate: rate.describe('Part of calls answered with a 500 or 503.'),
    slowRate: rate.describe('Part of calls delayed by `slowMs`.'),
    slowMs: ms(60 * MINUTE_MS)
      .default(0)
      .describe('That delay.'),
    cutRate: rate.describe('Part of answers cut in the middle.'),
    streamExceptionRate: rate.describe('Part of streams that end in an exception frame.'),
    outage: z.boolean().default(false).describe('Nothing is answered at all.'),
  })
  .prefault({})
  .describe('Faults to order.')

export const simulator = z
  .strictObject({
    seed: z.int().min(0).default(1).describe('Same seed, same answers.'),
    window: z
      .enum(['token-bucket', 'fixed', 'sliding'])
      .default('token-bucket')
      .describe('The window its quotas are enforced in; AWS documents none.'),
    quotas: z
      .array(
        z.strictObject({
          modelIds: z.array(glob).min(1).describe('Globs over the decoded modelId.'),
          region: z.string().min(1).optional().describe('Only in this Region. Absent: in each.'),
          requestsPerMinute: quota.optional().describe('RPM. Absent: unlimited.'),
          tokensPerMinute: quota.optional().describe('TPM. Absent: unlimited.'),
          outputBurndown: z.number().min(1).max(100).default(1).describe('As in models.'),
          maxOutputTokens: z.int().min(0).max(10_000_000).default(4096).describe('As in models.'),
        }),
      )
      .optional()
      .describe(
        'First match wins; what matches none is unlimited. Absent: the quotas of the pools that use the simulator.',
      ),
    latency: z
      .strictObject({
        firstTokenMs: ms(60 * MINUTE_MS)
          .default(250)
          .describe('Until the first token.'),
        perTokenMs: z.number().min(0).max(MINUTE_MS).default(8).describe('Between tokens.'),
        jitter: z.number().min(0).max(1).default(0.2).describe('Relative spread of both.'),
      })
      .prefault({})
      .describe('How fast it answers.'),
    answerTokens: z
      .int()
      .min(1)
      .max(100_000)
      .default(60)
      .describe("Mean length of an answer; a request's cap bounds it."),
    faults,
  })
  .prefault({})
  .describe('The built-in stand-in for Bedrock: for `endpoint: simulator` and `sluice simulator`.')
