// From a request to an Invocation: route by the raw path, find the model, read the body, price what it asks for.
// HTTP ends here.
import type { Clock } from '../domain/clock.ts'
import type { ClientFinder, ModelSettings, Priority } from '../domain/model.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Book } from '../gateway/book.ts'
import type { Invocation } from '../gateway/ports.ts'
import { Presence } from '../gateway/presence.ts'
import type { Request, Response } from '../transport/onePort.ts'
import { type Demand, readDemand } from '../wire/demand.ts'
import { matchOperation, type Operation, type Route } from '../wire/operations.ts'
import { bodyOf, ClientAnswer, writeHead } from './clientAnswer.ts'
import { identify } from './identity.ts'
import { refusalReply } from './refusals.ts'
import { discardBody, readBody } from './requestBody.ts'

export interface DataPlaneParts {
  book: Book
  findModel: (modelId: string) => ModelSettings | undefined
  clientOf: ClientFinder
  maxWaitMs: (priority: Priority) => number
  maxBodyBytes: number
  newId: () => string
  /** A client that takes no byte of its answer for so long is cut off. */
  stallTimeoutMs: number
  clock: Clock
  /** Told of every refusal that happened before the gateway. */
  refused: (refusal: Refusal, operation: string, requestId: string) => void
}

export type DataPlane = (request: Request, response: Response) => Promise<void>

export function createDataPlane(parts: DataPlaneParts): DataPlane {
  return async (request, response) => {
    const id = parts.newId()
    if (request.httpVersion === '1.1' && request.headers.host === undefined) {
      refuseEarly(parts, request, response, id, noHost())
      return
    }
    const match = matchOperation(request.method ?? '', request.url ?? '')
    if (match.kind !== 'found') {
      refuseEarly(parts, request, response, id, unrouted(match, request))
      return
    }
    const identity = identify(request.headers, request.socket?.remoteAddress, parts.clientOf)
    if (identity.kind === 'malformed') {
      refuseEarly(parts, request, response, id, malformed(identity.message), match.route.operation)
      return
    }
    // Listens from the start: a client may leave while its body is still on the way. Once it is answered, nobody asks.
    const presence = new Presence()
    bodyOf(response).on('close', () => presence.leave())
    const read = await readBody(request, parts.maxBodyBytes)
    if (read.kind === 'gone') return
    if (read.kind === 'too-large') {
      const refusal = bodyTooLarge(parts.maxBodyBytes)
      refuseEarly(parts, request, response, id, { refusal }, match.route.operation)
      return
    }
    const parsed = parse(parts, match.route, read.body)
    if ('refusal' in parsed) {
      refuseEarly(parts, request, response, id, parsed, match.route.operation)
      return
    }
    const { operation } = match.route
    const sdkInvocationId = sdkInvocationIdOf(request)
    const invocation: Invocation = {
      id,
      ...(parsed.model && { model: parsed.model }),
      ...(parsed.demand && { demand: parsed.demand }),
      flow: identity.flow,
      ...(sdkInvocationId !== undefined && { sdkInvocationId }),
      maxWaitMs: Math.min(identity.maxWaitMs ?? Infinity, parts.maxWaitMs(identity.flow.priority)),
      request: {
        operation,
        ...(parsed.modelId !== undefined && { modelId: parsed.modelId }),
        rawUrl: request.url!,
        headers: request.rawHeaders,
        body: read.body,
      },
      presence,
    }
    await parts.book.handle(invocation, new ClientAnswer(response, operation.dialect, id, parts))
  }
}

/** Longer than any SDK's is not one. */
const LONGEST_SDK_ID = 64

function sdkInvocationIdOf(request: Request): string | undefined {
  const id = request.headers['amz-sdk-invocation-id']
  return typeof id === 'string' && id !== '' && id.length <= LONGEST_SDK_ID ? id : undefined
}

interface Parsed {
  model?: ModelSettings
  modelId?: string
  demand?: Demand
}

/** What the gateway must know: nothing for calls without a model, the model alone for unmetered ones. */
function parse(parts: DataPlaneParts, route: Route, body: Buffer): Parsed | { refusal: Refusal } {
  const { operation } = route
  if (operation.modelIn === 'nowhere') return {}
  if (!operation.metered) return withModel(parts, route.id!)
  // The model first: a wrong one is the better message for a body of another provider's shape.
  const known = operation.modelIn === 'path' ? withModel(parts, route.id!) : undefined
  if (known && 'refusal' in known) return known
  const read = readDemand(operation, body)
  if (read.kind === 'malformed') return malformed(read.message)
  const found = known ?? withModel(parts, read.demand.modelId)
  return 'refusal' in found ? found : { ...found, demand: read.demand }
}

function withModel(parts: DataPlaneParts, modelId: string | undefined): Parsed | { refusal: Refusal } {
  if (modelId === undefined) return malformed('model: expected the id of a model, found none.')
  const model = parts.findModel(modelId)
  if (model) return { model, modelId }
  const message = `No model of this Sluice's configuration matches the id ${JSON.stringify(modelId.slice(0, 200))}.`
  return { refusal: { code: 'unknown-model', message } }
}

interface Early {
  refusal: Refusal
  headers?: string[]
}

function unrouted(match: Exclude<ReturnType<typeof matchOperation>, { kind: 'found' }>, request: Request): Early {
  if (match.kind === 'malformed') return malformed(match.reason)
  if (match.kind === 'unknown') {
    return { refusal: { code: 'unknown-route', message: 'Bedrock has no operation at this path.' } }
  }
  const allowed = match.allowed.join(', ')
  const message = `This path takes ${allowed}, not ${request.method}.`
  return { refusal: { code: 'method-not-allowed', message }, headers: ['allow', allowed] }
}

/** A client that leaves it out may mean another server: nothing more is taken from its connection. */
function noHost(): Early {
  return { ...malformed('The request has no host header.'), headers: ['connection', 'close'] }
}

function malformed(message: string): Early {
  return { refusal: { code: 'malformed-request', message } }
}

function bodyTooLarge(limitBytes: number): Refusal {
  return { code: 'body-too-large', message: `The request's body is larger than ${limitBytes} bytes.` }
}

/** Said before the gateway heard of it; whatever body is still on its way is let in and dropped. */
function refuseEarly(
  parts: DataPlaneParts,
  request: Request,
  response: Response,
  id: string,
  early: Early,
  operation?: Operation,
): void {
  parts.refused(early.refusal, operation?.name ?? 'none', id)
  const { status, headers, body } = refusalReply(early.refusal, operation?.dialect ?? dialectOf(request), id)
  const answer = () => {
    writeHead(response, status, headers.concat(early.headers ?? []))
    if (request.method === 'HEAD') bodyOf(response).end()
    else bodyOf(response).end(body)
  }
  discardBody(request, answer)
}

function dialectOf(request: Request): Operation['dialect'] {
  if (request.url?.startsWith('/openai/')) return 'openai'
  return request.url?.startsWith('/anthropic/') ? 'anthropic' : 'bedrock'
}
