// The settings of a client: its share, its classes, its own limits, and its credentials.
import { z } from 'zod'
import { ALGORITHMS } from '../domain/limits/meter.ts'
import { PRIORITIES } from '../domain/model.ts'
import { credentials } from './authSchema.ts'
import { name } from './values.ts'

/** Counted whole, and exactly: 60,000 times as much is still a whole number. */
const limit = z.int().min(1).max(1e9)

const limits = z
  .strictObject({
    requestsPerMinute: limit.optional().describe('Absent: unlimited.'),
    tokensPerMinute: limit
      .optional()
      .describe('Estimated input + output cap, corrected to what Bedrock charged when a call ends. Absent: unlimited.'),
    concurrent: z.int().min(1).max(100_000).optional().describe('Calls in flight. Absent: unlimited.'),
    models: z
      .array(name)
      .min(1)
      .optional()
      .describe('The models it may ask for, by their names here (`models[].name`). Absent: all.'),
    algorithm: z
      .enum(ALGORITHMS)
      .default('token-bucket')
      .describe('How a minute is counted; docs/limits.md says what each guarantees and where it fails.'),
  })
  .optional()
  .describe('What it may take of its own; a call that is over is refused at once. Absent: no limits.')

export const client = z
  .strictObject({
    name: name.describe('Unique. `open` is everybody while `auth.mode` is `open`.'),
    weight: z
      .number()
      .min(0.001)
      .max(1000)
      .default(1)
      .describe('Its share of a contended model, beside those of other clients.'),
    priority: z.enum(PRIORITIES).default('normal').describe('Class of a request that asks for none.'),
    maxPriority: z.enum(PRIORITIES).default('high').describe('The highest class that x-sluice-priority may ask for.'),
    limits,
    ...credentials,
  })
  .superRefine(({ priority, maxPriority }, context) => {
    if (PRIORITIES.indexOf(priority) >= PRIORITIES.indexOf(maxPriority)) return
    context.addIssue({ code: 'custom', path: ['maxPriority'], message: `at least its priority, ${priority}` })
  })
  .describe('Who calls: an app or a team.')

/** A client may only be limited to models that are there. */
export function checkLimits(
  clients: z.infer<typeof client>[],
  models: { name: string }[],
  context: z.RefinementCtx,
): void {
  const names = new Set(models.map(model => model.name))
  clients.forEach((one, i) => {
    one.limits?.models?.forEach((model, j) => {
      if (names.has(model)) return
      const path = ['clients', i, 'limits', 'models', j]
      context.addIssue({ code: 'custom', path, message: 'the name of a model' })
    })
  })
}
