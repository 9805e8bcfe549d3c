// Who may come in, by the settings as they are now: a reload takes effect with the next request, for keys that come and for
// keys that go.
import type { Config } from './config/schema.ts'
import type { Secrets } from './config/secrets.ts'
import type { Clock } from './domain/clock.ts'
import { credentialedIdentities } from './identity/credentialed.ts'
import { MOST_WAITING, Tokens } from './identity/jwt.ts'
import { type KeySet, RemoteKeySet } from './identity/keySet.ts'
import { KeyRing } from './identity/keys.ts'
import { openIdentities } from './identity/open.ts'
import type { Identities, Presented, Who } from './identity/who.ts'
import type { Logger } from './telemetry/log.ts'

export class LiveIdentities implements Identities {
  readonly #clock: Clock
  readonly #log: Logger
  #current: Identities = openIdentities
  #tokens: Tokens | undefined
  /** Outlives a reload: a provider that is away just then must not shut anybody out. */
  #remote: { url: string; keys: KeySet } | undefined

  constructor(config: Config, secrets: Secrets, clock: Clock, log: Logger) {
    this.#clock = clock
    this.#log = log
    this.take(config, secrets)
  }

  take({ auth, clients }: Config, secrets: Secrets): void {
    this.#tokens = undefined
    if (auth.mode === 'open') {
      this.#current = openIdentities
      return
    }
    const keys = clients.flatMap(({ name, keySha256 = [] }) => keySha256.map(sha256 => ({ client: name, sha256 })))
    if (auth.jwt) {
      const byClaim = new Map(
        clients.flatMap(({ name, jwtClientIds = [name] }) => jwtClientIds.map(id => [id, name] as const)),
      )
      this.#tokens = new Tokens({
        settings: auth.jwt,
        keys: secrets.keySet ?? this.#remoteKeys(auth.jwt.jwksUrl!),
        clientOf: claim => byClaim.get(claim),
        clock: this.#clock,
      })
    }
    this.#current = credentialedIdentities({
      keys: new KeyRing(keys),
      signingKeys: secrets.signingKeys,
      tokens: this.#tokens,
      clock: this.#clock,
    })
  }

  whoIs(presented: Presented): Who | Promise<Who> {
    const asked = this.#current
    const who = asked.whoIs(presented)
    // Who waited while the settings changed is judged by those that hold now.
    return who instanceof Promise ? who.then(one => (asked === this.#current ? one : this.whoIs(presented))) : who
  }

  /** Only tokens are waited for; everybody else is known at once, so that nobody is found being identified. */
  reading(): { depth: number; limit: number } {
    return this.#tokens ? { depth: this.#tokens.waiting, limit: MOST_WAITING } : { depth: 0, limit: 1 }
  }

  #remoteKeys(url: string): KeySet {
    if (this.#remote?.url === url) return this.#remote.keys
    const onTrouble = (reason: string) =>
      this.#log.warn({ jwksUrl: url, reason }, 'the keys of the identity provider were not fetched')
    const keys = new RemoteKeySet({ url, clock: this.#clock, onTrouble })
    this.#remote = { url, keys }
    return keys
  }
}
