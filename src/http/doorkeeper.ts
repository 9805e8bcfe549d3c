// Who is let in, before a byte of the body has been read: where a request comes from, who it is, what it may ask for.
import type { ClientFinder, Flow } from '../domain/model.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Identities, Presented, Who } from '../identity/who.ts'
import type { Request } from '../transport/onePort.ts'
import { identify } from './identity.ts'

export interface DoorkeeperParts {
  identities: Identities
  clientOf: ClientFinder
}

export type Admission =
  | {
      kind: 'in'
      flow: Flow
      /** What it asks for; undefined: nothing. */
      maxWaitMs: number | undefined
      /** What only the body can show, once it has been read. */
      checkBody?: (body: Buffer) => Refusal | undefined
    }
  | { kind: 'refused'; refusal: Refusal }

export class Doorkeeper {
  readonly #parts: DoorkeeperParts

  constructor(parts: DoorkeeperParts) {
    this.#parts = parts
  }

  /** At once where nothing has to be waited for. */
  letIn(request: Request): Admission | Promise<Admission> {
    const presented = present(request)
    const who = this.#parts.identities.whoIs(presented)
    return who instanceof Promise ? who.then(one => this.#admit(presented, one)) : this.#admit(presented, who)
  }

  #admit({ headers }: Presented, who: Who): Admission {
    if (who.kind === 'denied') return { kind: 'refused', refusal: who.refusal }
    const identity = identify(headers, who, this.#parts.clientOf)
    if (identity.kind === 'malformed') {
      return { kind: 'refused', refusal: { code: 'malformed-request', message: identity.message } }
    }
    const { flow, maxWaitMs } = identity
    return { kind: 'in', flow, maxWaitMs, ...(who.checkBody && { checkBody: who.checkBody }) }
  }
}

function present(request: Request): Presented {
  return {
    method: request.method ?? '',
    rawUrl: request.url ?? '',
    headers: request.headers,
    rawHeaders: request.rawHeaders,
    address: request.socket?.remoteAddress,
  }
}
