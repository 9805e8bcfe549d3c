// The kinds of value that settings share.
import { z } from 'zod'

export const MINUTE_MS = 60_000
export const ms = (most: number) => z.int().min(0).max(most)
export const name = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[\w.:-]+$/, 'letters, digits, and . _ : -')
export const glob = z.string().min(1).max(2048)
/** Per minute. */
export const quota = z.number().positive().max(1e12)
