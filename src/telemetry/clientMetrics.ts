// Who uses it: requests, charges, refusals and waits by client, as this gateway saw them, and how the ledger's lines and shares
// stand by client. Labels of clients are bounded by namedClients.
import { Counter, Gauge, type Registry } from 'prom-client'
import type { Finished, ModelStatus } from '../gateway/ports.ts'
import { NamedClients, OTHER } from './namedClients.ts'

/** Of one client at one model, since the start. */
interface Account {
  model: string
  client: string
  /** By outcome. */
  requests: Map<string, number>
  /** By code. */
  refusals: Map<string, number>
  chargedTokens: number
  waitedMs: number
}

/** Of one client in one class of a model, as the ledger said at this scrape. */
interface Standing {
  model: string
  priority: string
  client: string
  waiting: number
  share: number
  weightShare: number
}

export class ClientMetrics {
  readonly #clients = new NamedClients()
  /** By client, then by model. */
  readonly #accounts = new Map<string, Map<string, Account>>()
  /** Kept while the client has its name and the ledger the model: who is gone for the moment has zeros, not no series. */
  readonly #standings = new Map<string, Standing>()
  /** Done when they are as the ledger said at this scrape. */
  #stood: Promise<void> = Promise.resolve()

  constructor(registry: Registry) {
    this.#counters(registry)
    const standings = async () => {
      await this.#stood
      return this.#standings.values()
    }
    const gauge = (name: string, help: string, read: (standing: Standing) => number) =>
      new Gauge({
        name,
        help,
        labelNames: ['model', 'priority', 'client'],
        registers: [registry],
        async collect() {
          const all = await standings()
          this.reset()
          for (const one of all) {
            const { model, priority, client } = one
            this.set({ model, priority, client }, read(one))
          }
        },
      })
    gauge('sluice_client_waiting', 'Invocations of a client that wait for their turn.', one => one.waiting)
    gauge('sluice_client_share', 'Of what the class was served of late, the part of a client.', one => one.share)
    gauge(
      'sluice_client_weight_share',
      'The part that a client has by its weight, among the clients of the class that want something.',
      one => one.weightShare,
    )
  }

  finished({ model, flow, outcome, refusal, waitMs, throttledBy, reservedTokens, chargedTokens }: Finished): void {
    const account = this.#account(flow.client, model)
    const tokens = throttledBy.length * reservedTokens + chargedTokens
    add(account.requests, outcome)
    if (refusal && outcome !== 'rescued') add(account.refusals, refusal.code)
    account.chargedTokens += tokens
    account.waitedMs += waitMs
    this.#clients.used(flow.client, tokens)
  }

  /** A call of it failed and was charged all the same. */
  charged(client: string, model: string, tokens: number): void {
    this.#account(client, model).chargedTokens += tokens
  }

  /** A scrape begins, and this is what the ledger says. */
  refresh(models: Promise<ModelStatus[]>, nowMs: number): void {
    this.#stood = models.then(all => this.#stand(all))
    for (const client of this.#clients.review(nowMs)) {
      this.#accounts.delete(client)
      for (const [key, standing] of this.#standings) if (standing.client === client) this.#standings.delete(key)
    }
  }

  #counters(registry: Registry): void {
    const counter = (
      name: string,
      help: string,
      more: string[],
      read: (account: Account, add: (value: number, labels?: Record<string, string>) => void) => void,
    ) => {
      const accounts = () => [...this.#accounts.values()].flatMap(byModel => [...byModel.values()])
      return new Counter({
        name,
        help,
        labelNames: ['model', 'client', ...more],
        registers: [registry],
        collect() {
          this.reset()
          for (const account of accounts()) {
            const { model, client } = account
            read(account, (value, labels) => this.inc({ model, client, ...labels }, value))
          }
        },
      })
    }
    counter('sluice_client_requests_total', 'Invocations ended, by client and outcome.', ['outcome'], (one, add) => {
      for (const [outcome, count] of one.requests) add(count, { outcome })
    })
    counter('sluice_client_refusals_total', 'Refusals, by client and code.', ['code'], (one, add) => {
      for (const [code, count] of one.refusals) add(count, { code })
    })
    counter('sluice_client_charged_tokens_total', 'Quota tokens charged, by client.', [], (one, add) =>
      add(one.chargedTokens),
    )
    counter('sluice_client_wait_seconds_total', 'Time that invocations waited, by client.', [], (one, add) =>
      add(one.waitedMs / 1000),
    )
  }

  #account(name: string, model: string): Account {
    let byModel = this.#accounts.get(name)
    if (!byModel) {
      const client = this.#clients.labelOf(name)
      byModel = this.#accounts.get(client) ?? new Map()
      this.#accounts.set(client, byModel)
    }
    let account = byModel.get(model)
    if (!account) {
      const client = this.#clients.labelOf(name)
      account = { model, client, requests: new Map(), refusals: new Map(), chargedTokens: 0, waitedMs: 0 }
      byModel.set(model, account)
    }
    return account
  }

  #stand(models: ModelStatus[]): void {
    const told = new Set(models.map(({ model }) => model))
    for (const [key, standing] of this.#standings) {
      if (told.has(standing.model)) Object.assign(standing, { waiting: 0, share: 0, weightShare: 0 })
      else this.#standings.delete(key)
    }
    for (const { model, classes } of models)
      for (const { priority, clients, waiting } of classes) {
        for (const one of clients) {
          const standing = this.#standing(model, priority, this.#clients.labelOf(one.client))
          standing.waiting += one.waiting
          standing.share += one.share
          standing.weightShare += one.weightShare
        }
        // The ledger tells of those with the longest lines.
        const untold = waiting - clients.reduce((sum, one) => sum + one.waiting, 0)
        if (untold > 0) this.#standing(model, priority, OTHER).waiting += untold
      }
  }

  #standing(model: string, priority: string, client: string): Standing {
    const key = `${model} ${priority} ${client}`
    let standing = this.#standings.get(key)
    if (!standing) {
      standing = { model, priority, client, waiting: 0, share: 0, weightShare: 0 }
      this.#standings.set(key, standing)
    }
    return standing
  }
}

function add(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1)
}
