// What the simulator can be told: its quotas and their window, its pace, its faults, and the seed all chance comes from.

export type WindowKind = 'token-bucket' | 'fixed' | 'sliding'

export interface SimulatorSettings {
  /** Same seed and same requests in the same order of time: the same bytes. */
  seed: number
  window: WindowKind
  /** The first that matches wins. A modelId that matches none is unlimited, with a burndown of 1. */
  quotas: SimulatedQuota[]
  latency: Latency
  faults: Faults
  /** Mean length of an answer. Drawn between half and one and a half of it, and never above the request's own cap. */
  answerTokens?: number | undefined
}

export interface SimulatedQuota {
  /** Globs over the decoded modelId. */
  modelIds: string[]
  /** Absent: every Region, each with a quota of its own. */
  region?: string | undefined
  /** Absent: unlimited. */
  requestsPerMinute?: number | undefined
  /** Absent: unlimited. */
  tokensPerMinute?: number | undefined
  /** Quota tokens an output token costs at settlement. */
  outputBurndown: number
  /** Reserved when a request sets no cap. */
  maxOutputTokens: number
}

export interface Latency {
  firstTokenMs: number
  perTokenMs: number
  /** 0 to 1: every wait is multiplied by a factor drawn evenly from 1 − jitter to 1 + jitter. */
  jitter: number
}

/** Rates are parts of calls, 0 to 1. */
export interface Faults {
  /** Answered InternalServerException 500 or ServiceUnavailableException 503, evenly, where the first token was due. */
  errorRate: number
  /** `slowMs` more before the first token. */
  slowRate: number
  slowMs: number
  /** The connection is destroyed in the middle of the body or stream, inside a frame. */
  cutRate: number
  /** A stream ends mid-way in an exception frame. */
  streamExceptionRate: number
  /** Every call fails at once, by a fair coin: the connection is destroyed before a byte, or 503. */
  outage: boolean
}

/** What can change while it runs; what is absent stays. */
export interface SimulatorChange {
  window?: WindowKind
  quotas?: SimulatedQuota[]
  latency?: Partial<Latency>
  faults?: Partial<Faults>
  answerTokens?: number | undefined
}

export const DEFAULT_ANSWER_TOKENS = 120
/** Reserved for an uncapped request to a model without a quota of its own. */
export const DEFAULT_MAX_OUTPUT_TOKENS = 4096

export const NO_FAULTS: Faults = {
  errorRate: 0,
  slowRate: 0,
  slowMs: 0,
  cutRate: 0,
  streamExceptionRate: 0,
  outage: false,
}

export const DEFAULT_SIMULATOR_SETTINGS: SimulatorSettings = {
  seed: 1,
  window: 'token-bucket',
  quotas: [],
  latency: { firstTokenMs: 300, perTokenMs: 10, jitter: 0.2 },
  faults: NO_FAULTS,
  answerTokens: DEFAULT_ANSWER_TOKENS,
}

export function changed(settings: SimulatorSettings, change: SimulatorChange): SimulatorSettings {
  return {
    ...settings,
    ...change,
    latency: { ...settings.latency, ...change.latency },
    faults: { ...settings.faults, ...change.faults },
  }
}
