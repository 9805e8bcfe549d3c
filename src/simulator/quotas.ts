// Which quota a call draws on: the first whose globs and Region match, held once for each Region that calls.
import { globMatcher } from '../domain/modelIds.ts'
import { type QuotaCounts, QuotaState } from './quota.ts'
import type { SimulatedQuota, WindowKind } from './settings.ts'

const DEFAULT_REGION = 'us-east-1'
/** The Region is the caller's word: past this many, a new one shares the default's quotas, so names cannot fill the memory. */
const MAX_REGIONS = 64
const CREDENTIAL_SCOPE = /Credential=[^/\s,]+\/\d{8}\/([a-z0-9-]{1,32})\//

interface Entry {
  quota: SimulatedQuota
  matches: ((modelId: string) => boolean)[]
  key: string
}

export class Quotas {
  #window: WindowKind
  #entries: Entry[]
  readonly #states = new Map<string, QuotaState>()
  readonly #regions = new Set([DEFAULT_REGION])

  constructor(quotas: SimulatedQuota[], window: WindowKind) {
    this.#window = window
    this.#entries = quotas.map(entry)
  }

  /** The Region out of a SigV4 credential scope; us-east-1 for a bearer token or nothing. */
  regionOf(authorization: string | string[] | undefined): string {
    const scope = typeof authorization === 'string' ? CREDENTIAL_SCOPE.exec(authorization)?.[1] : undefined
    if (scope === undefined || this.#regions.has(scope)) return scope ?? DEFAULT_REGION
    if (this.#regions.size >= MAX_REGIONS) return DEFAULT_REGION
    this.#regions.add(scope)
    return scope
  }

  find(region: string, modelId: string): QuotaState {
    const found = this.#entries.find(
      ({ quota, matches }) =>
        (quota.region === undefined || quota.region === region) && matches.some(match => match(modelId)),
    )
    const key = stateKey(region, found?.key)
    let state = this.#states.get(key)
    if (!state) {
      state = new QuotaState(region, found?.quota, this.#window)
      this.#states.set(key, state)
    }
    return state
  }

  /** A quota with the same globs and Region as before keeps what is in use and its counts; any other starts empty. */
  replace(quotas: SimulatedQuota[]): void {
    this.#entries = quotas.map(entry)
    const kept = new Set<QuotaState>()
    for (const { quota, key } of this.#entries.toReversed())
      for (const region of this.#regions) {
        const state = this.#states.get(stateKey(region, key))
        if (!state) continue
        state.quota = quota
        kept.add(state)
      }
    for (const [key, state] of this.#states) if (state.quota && !kept.has(state)) this.#states.delete(key)
  }

  useWindow(window: WindowKind): void {
    if (window === this.#window) return
    this.#window = window
    for (const state of this.#states.values()) state.useWindow(window)
  }

  counts(): QuotaCounts[] {
    return Array.from(this.#states.values(), state => ({ ...state.counts }))
  }

  resetCounts(): void {
    for (const state of this.#states.values()) state.resetCounts()
  }
}

function entry(quota: SimulatedQuota): Entry {
  return { quota, matches: quota.modelIds.map(globMatcher), key: JSON.stringify([quota.modelIds, quota.region ?? '*']) }
}

function stateKey(region: string, quotaKey: string | undefined): string {
  return `${region} ${quotaKey ?? 'no quota'}`
}
