// What apps ask for, and the quotas that serve it.
import { z } from 'zod'
import { COALESCE_SCOPES, idToAskBy, OUTPUT_CAPS, PACES } from '../domain/model.ts'
import { glob, name, quota } from './values.ts'

const pool = z
  .strictObject({
    name: name.describe('Named in x-sluice-pool, metrics and /status; unique within the model.'),
    region: z
      .string()
      .regex(/^[a-z]{2,4}(-[a-z]+)+-\d+$/, 'an AWS Region such as us-east-1')
      .describe('AWS Region, for the endpoint and the signature.'),
    endpoint: z
      .string()
      .refine(text => text === 'simulator' || isHttpUrl(text), 'an http(s) URL or `simulator`')
      .optional()
      .describe("Base URL (a VPC endpoint, a test server), or `simulator`. Absent: AWS's own endpoint of the Region."),
    modelId: z.string().min(1).max(2048).optional().describe('Replaces the requested modelId in this pool.'),
    profile: z
      .string()
      .min(1)
      .optional()
      .describe("Profile of the AWS configuration files, for another account's credentials."),
    requestsPerMinute: quota.optional().describe('Requests quota (RPM). Absent: unlimited.'),
    tokensPerMinute: quota.optional().describe('Tokens quota (TPM). Absent: unlimited.'),
  })
  .describe('One Bedrock quota that can serve the model.')

const aimd = z
  .strictObject({
    start: z.number().min(1).max(1000).default(100).describe('Per cent of the configured quota it begins with.'),
    min: z.number().min(0.1).max(1000).default(10).describe('Per cent it never goes below.'),
    max: z.number().min(1).max(10_000).default(200).describe('Per cent it never goes above.'),
    increase: z.number().min(1).max(10).default(1.1).describe('Factor after each run of successes.'),
    successes: z.int().min(1).max(100_000).default(100).describe('Calls accepted that make up a run.'),
    decrease: z.number().min(0.01).max(0.99).default(0.5).describe('Factor at a throttle; once an episode.'),
  })
  .prefault({})
  .superRefine(({ start, min, max }, context) => {
    if (min > start) context.addIssue({ code: 'custom', path: ['min'], message: `at most its start, ${start}` })
    if (max < start) context.addIssue({ code: 'custom', path: ['max'], message: `at least its start, ${start}` })
  })
  .describe('The textbook rule: additive increase, multiplicative decrease. Read when `pace` is `aimd`.')

const fallback = z
  .union([
    z.literal('stale'),
    z.literal('mock'),
    z.strictObject({ model: name.describe('Another model of this config, admitted there as usual.') }),
  ])
  .describe(
    '`stale`: the last good answer to the identical request; `{ model }`: another model; `mock`: a placeholder in the right shape.',
  )

const outputCap = z
  .strictObject({
    mode: z
      .enum(OUTPUT_CAPS)
      .default('off')
      .describe('Of a request that sets no output cap: `off` leaves it, `learned` and `fixed` give it one.'),
    tokens: z.int().min(1).max(10_000_000).default(4096).describe('The `fixed` cap, and the first `learned` one.'),
    margin: z.number().min(1).max(10).default(1.5).describe('`learned`: 99 of 100 recent outputs, times this.'),
    floor: z.int().min(1).max(10_000_000).default(256).describe('No cap is made smaller than this.'),
    saturation: z
      .number()
      .min(0.1)
      .max(1)
      .default(1)
      .describe('Above this use of the quota the caps of `low` requests shrink to the floor; 1: never.'),
  })
  .prefault({})
  .describe('Right-sized requests: what Bedrock reserves is what a request may answer at most.')

/** What is remembered of each, from step to step, has to fit into MOST_STATE. */
export const MOST_POOLS = 64

export const model = z
  .strictObject({
    name: name.describe('Named in metrics and /status; unique.'),
    modelIds: z.array(glob).min(1).describe('Globs over the decoded modelId; the first model that matches wins.'),
    outputBurndown: z
      .number()
      .min(1)
      .max(100)
      .default(1)
      .describe('Quota tokens per output token, charged at the end of a call.'),
    maxOutputTokens: z
      .int()
      .min(0)
      .max(10_000_000)
      .default(4096)
      .describe('What Bedrock reserves when a request sets no output cap; 0 for embeddings.'),
    bytesPerToken: z
      .number()
      .min(1)
      .max(10)
      .default(3.5)
      .describe('First guess of request bytes per input token; learned from settled calls afterwards.'),
    pools: z.array(pool).min(1).max(MOST_POOLS).describe('One or more quotas that can serve it.'),
    pace: z
      .enum(PACES)
      .default('adaptive')
      .describe(
        '`adaptive` finds out what a quota really is, starting at the configured one; `aimd` by the textbook rule; `off` trusts the config.',
      ),
    aimd,
    fallback: z
      .array(fallback)
      .max(8)
      .default([])
      .describe('In order, when no pool is open or attempts are spent; `[]` refuses.'),
    mockText: z
      .string()
      .max(10_000)
      .default('This is a placeholder: the model cannot be reached at the moment.')
      .describe('What the `mock` fallback answers.'),
    coalesce: z
      .enum(COALESCE_SCOPES)
      .default('off')
      .describe('Identical invocations in flight share one call: of one client, or of all (`shared`).'),
    outputCap,
  })
  .describe('What apps ask for: one waiting room.')

/** A fallback to another model must name one, and the id to ask it by must be known. */
export function checkFallbacks(models: z.infer<typeof model>[], context: z.RefinementCtx): void {
  models.forEach((one, i) => {
    one.fallback.forEach((step, j) => {
      if (typeof step === 'string') return
      const target = models.find(other => other.name === step.model)
      const path = ['models', i, 'fallback', j, 'model']
      if (!target || target === one) {
        context.addIssue({ code: 'custom', path, message: 'the name of another model of this config' })
      } else if (idToAskBy(target) === undefined) {
        const message = `a model whose first id in modelIds has no * or ?, or whose pools all set modelId`
        context.addIssue({ code: 'custom', path, message })
      }
    })
  })
}

function isHttpUrl(text: string): boolean {
  return /^https?:\/\//.test(text) && URL.canParse(text)
}
