// From a request to an Invocation: route by the raw path, find the model, read the body, price what it asks for.
// HTTP ends here.
import { ServerResponse } from 'node:http'
import type { Clock } from '../domain/clock.ts'
import type { LoopDelay } from '../domain/loopDelay.ts'
import type { Flow, ModelSettings, Priority } from '../domain/model.ts'
import type { Refusal } from '../domain/refusal.ts'
import type { Book } from '../gateway/book.ts'
import type { Invocation } from '../gateway/ports.ts'
import { Presence } from '../gateway/presence.ts'
import type { Stage } from '../gateway/stage.ts'
import type { Request, Response } from '../transport/onePort.ts'
import type { Demand } from '../wire/demand.ts'
import { matchOperation, type Operation, type Route } from '../wire/operations.ts'
import { MOST_SLUICES, sluicesPassed } from '../wire/via.ts'
import { bodyOf, ClientAnswer, cutUnlessTaken, writeHead } from './clientAnswer.ts'
import { type DemandReaders, LARGE_BYTES } from './demandReaders.ts'
import type { Admission, Doorkeeper } from './doorkeeper.ts'
import { doubtOf } from './framingDoubt.ts'
import { isTooLate, takeNoMoreFrom } from './lastWord.ts'
import type { Place, Receiving } from './receiving.ts'
import { refusalReply } from './refusals.ts'
import { declaredBytes, discardBody, readBody } from './requestBody.ts'
import { traceIdOf } from './traceparent.ts'

export interface DataPlaneParts {
  book: Book
  findModel: (modelId: string) => ModelSettings | undefined
  doorkeeper: Doorkeeper
  maxWaitMs: (priority: Priority) => number
  maxBodyBytes: number
  newId: () => string
  /** A client that takes no byte of its answer for so long is cut off. */
  stallTimeoutMs: number
  clock: Clock
  loop: LoopDelay
  receiving: Receiving
  /** Several clients are told apart, so each has a part of the room. */
  clientsShare: () => boolean
  identifying: Stage
  pricing: DemandReaders
  /** Told of every refusal that happened before the gateway. */
  refused: (refusal: Refusal, operation: string, requestId: string) => void
}

/** `invite` as in `RequestHandler`. */
export type DataPlane = (request: Request, response: Response, invite?: () => void) => Promise<void>

export function createDataPlane(parts: DataPlaneParts): DataPlane {
  return async (request, response, invite) => {
    if (isTooLate(request)) return
    const id = parts.newId()
    const arrivedMs = parts.clock.nowMs()
    // Listens from the start: a client may leave while it is identified, or while its body is still on the way. Once it is
    // answered, nobody asks.
    const presence = new Presence()
    bodyOf(response).on('close', () => presence.leave())
    const admitted = admit(parts, request)
    const caller = admitted instanceof Promise ? await admitted : admitted
    if ('refusal' in caller) {
      refuseEarly(parts, request, response, id, caller, caller.operation)
      return
    }
    const { operation } = caller.route
    try {
      if (presence.isGone || isOver(response)) return
      invite?.()
      const read = await readBody(request, parts.maxBodyBytes, caller.place)
      if (read.kind === 'gone' || isTooLate(request)) return
      const parsed = read.kind === 'ok' ? await parse(parts, caller, read.body, presence) : unread(parts, caller, read)
      if (!parsed) return
      if ('refusal' in parsed) {
        refuseEarly(parts, request, response, id, parsed, operation)
        return
      }
      const invocation = invocationOf(request, caller, parsed, { id, arrivedMs, presence })
      await parts.book.handle(invocation, new ClientAnswer(response, operation.dialect, id, parts))
    } finally {
      caller.place.release()
    }
  }
}

/** An HTTP/2 stream may be over before it says so, and what is written to it then throws. */
function isOver(response: Response): boolean {
  return !(response instanceof ServerResponse) && (response.stream.destroyed || response.stream.closed)
}

/** Whose body is worth reading, and has a place to be read into. */
interface Caller {
  route: Route
  flow: Flow
  /** As in Admission. */
  credential?: string
  roomFor: Priority
  maxWaitMs: number
  place: Place
  checkBody?: (body: Buffer) => Refusal | undefined
}

type Turned = Caller | (Early & { operation?: Operation })

/** All that can be said before a byte of the body has been read. */
function admit(parts: DataPlaneParts, request: Request): Turned | Promise<Turned> {
  const beganMs = parts.clock.nowMs()
  const wrong = doubtOf(request)
  if (wrong !== undefined) return hangUp(request, wrong)
  const match = matchOperation(request.method ?? '', request.url ?? '')
  if (match.kind !== 'found') return unrouted(match, request)
  if (sluicesPassed(request.rawHeaders) >= MOST_SLUICES) return { refusal: LOOP, operation: match.route.operation }
  const place = (admission: Admission): Turned => {
    parts.identifying.took(parts.clock.nowMs() - beganMs)
    return placeFor(parts, request, match.route, admission)
  }
  const admission = parts.doorkeeper.letIn(request)
  return admission instanceof Promise ? admission.then(place) : place(admission)
}

function placeFor(parts: DataPlaneParts, request: Request, route: Route, admission: Admission): Turned {
  const { operation } = route
  if (admission.kind === 'refused') return { refusal: admission.refusal, operation }
  const { flow, credential, roomFor, holder, checkBody } = admission
  const shed = parts.loop.shed(roomFor)
  if (shed) return { refusal: shed, operation }
  const bytes = declaredBytes(request)
  if (bytes > parts.maxBodyBytes) return { refusal: bodyTooLarge(parts.maxBodyBytes), operation }
  const sharer = parts.clientsShare() ? holder : undefined
  const place = parts.receiving.admit(roomFor, bytes, sharer)
  if (!place) return { refusal: parts.receiving.refusal(roomFor, bytes, sharer), operation }
  const maxWaitMs = Math.min(admission.maxWaitMs ?? Infinity, parts.maxWaitMs(flow.priority))
  return {
    route,
    flow,
    ...(credential !== undefined && { credential }),
    roomFor,
    maxWaitMs,
    place,
    ...(checkBody && { checkBody }),
  }
}

function unread(parts: DataPlaneParts, { place }: Caller, { kind }: { kind: 'too-large' | 'no-room' }): Early {
  return { refusal: kind === 'too-large' ? bodyTooLarge(parts.maxBodyBytes) : place.refusal() }
}

function invocationOf(
  request: Request,
  caller: Caller,
  { body, model, modelId, demand }: Parsed,
  own: Pick<Invocation, 'id' | 'arrivedMs' | 'presence'>,
): Invocation {
  const sdkInvocationId = sdkInvocationIdOf(request)
  return {
    ...own,
    traceId: traceIdOf(request.headers.traceparent),
    ...(model && { model }),
    ...(demand && { demand }),
    flow: caller.flow,
    ...(caller.credential !== undefined && { credential: caller.credential }),
    ...(sdkInvocationId !== undefined && { sdkInvocationId }),
    maxWaitMs: caller.maxWaitMs,
    request: {
      operation: caller.route.operation,
      ...(modelId !== undefined && { modelId }),
      rawUrl: request.url!,
      headers: request.rawHeaders,
      body,
    },
  }
}

/** Longer than any SDK's is not one. */
const LONGEST_SDK_ID = 64

function sdkInvocationIdOf(request: Request): string | undefined {
  const id = request.headers['amz-sdk-invocation-id']
  return typeof id === 'string' && id !== '' && id.length <= LONGEST_SDK_ID ? id : undefined
}

interface Named {
  model?: ModelSettings
  modelId?: string
}

interface Parsed extends Named {
  body: Buffer
  demand?: Demand
}

/** What the gateway must know: nothing for calls without a model, the model alone for unmetered ones. undefined: the client left. */
async function parse(
  parts: DataPlaneParts,
  { route, roomFor, checkBody }: Caller,
  body: Buffer,
  presence: Presence,
): Promise<Parsed | Early | undefined> {
  const { operation } = route
  // The thread that reads a large body hashes it as well: on the loop 24 MB would take 20 ms.
  const isReadElsewhere = operation.metered && body.length >= LARGE_BYTES
  const forged = isReadElsewhere ? undefined : checkBody?.(body)
  if (forged) return { refusal: forged }
  // The model first: a wrong one is the better message for a body of another provider's shape.
  const known = operation.modelIn === 'path' ? withModel(parts, route.id!) : undefined
  // Who is not let in is not told which models there are.
  if (known && 'refusal' in known) return { refusal: (isReadElsewhere && checkBody?.(body)) || known.refusal }
  if (!operation.metered) return { ...known, body }
  const { pricing } = parts
  const reading = isReadElsewhere
    ? await pricing.readLarge(operation, body, roomFor, presence)
    : { kind: 'read' as const, body, result: pricing.readSmall(operation, body) }
  if (reading.kind === 'gone') return undefined
  if (reading.kind === 'refused') return { refusal: reading.refusal }
  const forgedLarge = isReadElsewhere ? checkBody?.(reading.body) : undefined
  if (forgedLarge) return { refusal: forgedLarge }
  if (reading.result.kind === 'malformed') return malformed(reading.result.message)
  const { demand } = reading.result
  const found = known ?? withModel(parts, demand.modelId)
  return 'refusal' in found ? found : { ...found, body: reading.body, demand }
}

function withModel(parts: DataPlaneParts, modelId: string | undefined): Named | { refusal: Refusal } {
  if (modelId === undefined) return malformed('model: expected the id of a model, found none.')
  const model = parts.findModel(modelId)
  if (model) return { model, modelId }
  const message = `No model of this Sluice's configuration matches the id ${JSON.stringify(modelId.slice(0, 200))}.`
  return { refusal: { code: 'unknown-model', message } }
}

const LOOP: Refusal = {
  code: 'request-loop',
  message: `The request has come through ${MOST_SLUICES} Sluices: an endpoint in their configurations leads back to one of them.`,
}

interface Early {
  refusal: Refusal
  headers?: string[]
}

function unrouted(match: Exclude<ReturnType<typeof matchOperation>, { kind: 'found' }>, request: Request): Early {
  if (match.kind === 'malformed') return malformed(match.reason)
  if (match.kind === 'unknown') {
    // Who comes from OpenAI's or Anthropic's own API: the version stands behind the provider's name here.
    const hint = request.url?.startsWith('/v1/')
      ? ' Those of OpenAI are under /openai/v1, of Anthropic under /anthropic/v1.'
      : ''
    return { refusal: { code: 'unknown-route', message: `Bedrock has no operation at this path.${hint}` } }
  }
  const allowed = match.allowed.join(', ')
  const message = `This path takes ${allowed}, not ${request.method}.`
  return { refusal: { code: 'method-not-allowed', message }, headers: ['allow', allowed] }
}

/** Another server may see another request in it, or another end of it. */
function hangUp(request: Request, message: string): Early {
  takeNoMoreFrom(request.socket)
  return { ...malformed(message), headers: ['connection', 'close'] }
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
    else if (response instanceof ServerResponse && !request.complete) {
      // Whole for its client, but not ended before the request is: a connection that is not kept alive would be closed
      // under the hands of one who still sends, and be reset before the answer has been read.
      response.write(body)
      request.once('end', () => response.end())
    } else bodyOf(response).end(body)
    cutUnlessTaken(response, parts)
  }
  discardBody(request, answer)
}

function dialectOf(request: Request): Operation['dialect'] {
  if (request.url?.startsWith('/openai/')) return 'openai'
  return request.url?.startsWith('/anthropic/') ? 'anthropic' : 'bedrock'
}
