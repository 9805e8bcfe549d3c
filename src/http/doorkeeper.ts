// Who is let in, before a byte of the body has been read: where a request comes from, whether so much may come from there,
// who it is, what it may ask for.
import type { FastifyInstance } from 'fastify'
import type { ClientFinder, Flow, Priority } from '../domain/model.ts'
import type { Refusal, Stranger } from '../domain/refusal.ts'
import { shownBy } from '../identity/credentialed.ts'
import type { Identities, Known, Presented, Who } from '../identity/who.ts'
import type { Request } from '../transport/onePort.ts'
import type { ClientAddress } from './clientAddress.ts'
import { identify } from './identity.ts'
import type { IngressGuard } from './ingressGuard.ts'
import { UNPROVEN } from './receiving.ts'

export interface DoorkeeperParts {
  address: ClientAddress
  guard: IngressGuard
  identities: Identities
  clientOf: ClientFinder
}

export type Admission =
  | {
      kind: 'in'
      flow: Flow
      /** What it was known by, where the flow's user is another name. */
      credential?: string
      /** The class in which it gets room here while its body comes: the lowest for who is not known until that has come. */
      roomFor: Priority
      /** … and whose part of that room it takes: nobody's in particular for who is not known until then. */
      holder: string
      /** What it asks for; undefined: nothing. */
      maxWaitMs: number | undefined
      /** What only the body can show, once it has been read. */
      checkBody?: (body: Buffer) => Refusal | undefined
    }
  | { kind: 'refused'; refusal: Refusal }

/**
 * An access key id, and no secret that was put in its place: those have lower case. What the config takes for an id and this
 * does not is left out of the log.
 */
const ACCESS_KEY_ID = /^[A-Z0-9_]{16,128}$/

export class Doorkeeper {
  readonly #parts: DoorkeeperParts

  constructor(parts: DoorkeeperParts) {
    this.#parts = parts
  }

  /** Before the first request. */
  install(app: FastifyInstance): Promise<void> {
    return this.#parts.guard.install(app)
  }

  /** At once where nothing has to be waited for. */
  letIn(request: Request): Admission | Promise<Admission> {
    const presented = this.#present(request)
    const refusal = this.#parts.guard.admit(presented)
    return refusal instanceof Promise
      ? refusal.then(one => this.#unlessRefused(presented, one))
      : this.#unlessRefused(presented, refusal)
  }

  #unlessRefused(presented: Presented, refusal: Refusal | undefined): Admission | Promise<Admission> {
    if (refusal) return { kind: 'refused', refusal: named(refusal, presented) }
    const who = this.#parts.identities.whoIs(presented)
    return who instanceof Promise ? who.then(one => this.#judge(presented, one)) : this.#judge(presented, who)
  }

  #judge(presented: Presented, who: Who): Admission | Promise<Admission> {
    if (who.kind === 'known') return this.#admit(presented, who)
    const refused: Admission = { kind: 'refused', refusal: named(who.refusal, presented) }
    // Whoever guesses waits until the guess is counted, so that the next one knows of it.
    return this.#parts.guard.failed(presented, who.refusal)?.then(() => refused) ?? refused
  }

  #admit(presented: Presented, who: Known): Admission {
    const isKnown = !who.checkBody || this.#parts.guard.wasProven(presented)
    const checkBody = this.#provenBy(presented, who)
    const identity = identify(presented.headers, who, this.#parts.clientOf)
    if (identity.kind === 'malformed') {
      return { kind: 'refused', refusal: { code: 'malformed-request', message: identity.message } }
    }
    const { flow, maxWaitMs } = identity
    const roomFor = isKnown ? flow.priority : 'low'
    const credential = who.user === flow.user ? undefined : who.user
    return {
      kind: 'in',
      flow,
      roomFor,
      holder: isKnown ? flow.client : UNPROVEN,
      maxWaitMs,
      ...(credential !== undefined && { credential }),
      ...(checkBody && { checkBody }),
    }
  }

  /** A credential that promises a body is proven only by that body. */
  #provenBy(presented: Presented, { client, checkBody }: Known): Known['checkBody'] {
    const { guard } = this.#parts
    if (!checkBody) {
      guard.proved(presented, client)
      return undefined
    }
    return body => {
      const refusal = checkBody(body)
      if (!refusal) {
        guard.proved(presented, client)
        return undefined
      }
      void guard.failed(presented, refusal)
      return named(refusal, presented)
    }
  }

  #present(request: Request): Presented {
    const { method = '', url: rawUrl = '', headers, rawHeaders } = request
    const address = this.#parts.address.of(request)
    return { method, rawUrl, headers, rawHeaders, address, shown: shownBy({ headers, rawUrl }) }
  }
}

/** With what whoever reads the log can find a guesser, or a misconfigured app, by. */
function named(refusal: Refusal, presented: Presented): Refusal {
  const from: Stranger = {}
  if (presented.address !== undefined) from.address = presented.address
  const { shown } = presented
  const accessKeyId = shown?.kind === 'signature' ? shown.accessKeyId : undefined
  if (accessKeyId !== undefined && ACCESS_KEY_ID.test(accessKeyId)) from.accessKeyId = accessKeyId
  return { ...refusal, from }
}
