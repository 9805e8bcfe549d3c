// The app: the data plane on every path, Fastify's operations routes beside it. Built apart from the process, so that
// tests can run it on a port of their own.
import type { Socket } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { createOnePort, type OnePortOptions, type Request, type Response } from '../transport/onePort.ts'
import { bodyOf, cutUnlessTaken } from './clientAnswer.ts'
import { answerClientError } from './clientError.ts'
import { createDataPlane, type DataPlaneParts } from './dataPlane.ts'
import { doubtOf } from './framingDoubt.ts'
import { isTooLate } from './lastWord.ts'

export interface Readiness {
  status: 'ready' | 'degraded' | 'draining'
  parts: Record<string, string>
}

export interface AppParts {
  port: OnePortOptions
  dataPlane: DataPlaneParts
  readiness: () => Readiness
  status: () => Promise<object>
  /** `accept`: of the request. */
  metrics: (accept: string | undefined) => Promise<{ contentType: string; text: string }>
  /** A fault of ours, not of the client's. */
  fault: (error: unknown) => void
}

export function buildApp(parts: AppParts): FastifyInstance {
  const { newId, clock } = parts.dataPlane
  const dataPlane = createDataPlane(parts.dataPlane)
  const serve: typeof dataPlane = (request, response, invite) =>
    dataPlane(request, response, invite).catch(error => {
      parts.fault(error)
      response.destroy()
    })
  const app = Fastify({
    // Fastify hears of the operations routes alone: everything else goes past it, body and all, as it came.
    serverFactory: handle =>
      createOnePort(parts.port, (request, response, invite) => {
        if (isForOperations(request) && !isInDoubt(request)) handle(request as never, response as never)
        else serve(request, response, invite)
      }) as never,
    clientErrorHandler: (error, socket) => answerClientError(error, socket as Socket, newId(), clock),
    // The port itself knows when an idle connection may end.
    forceCloseConnections: false,
    exposeHeadRoutes: false,
    // A request that raced with the shutdown is served: its client has done nothing wrong.
    return503OnClosing: false,
    logger: false,
  })

  app.register(async scope => parts.dataPlane.doorkeeper.install(scope))
  app.addHook('onSend', async (_request, reply) => cutUnlessTaken(reply.raw as Response, parts.dataPlane))
  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    const readiness = parts.readiness()
    return reply.code(readiness.status === 'draining' ? 503 : 200).send(readiness)
  })
  app.register(async pages => {
    pages.addHook('onRequest', atMost(MOST_PAGES))
    pages.get('/status', async () => parts.status())
    pages.get('/metrics', async (request, reply) => {
      const { contentType, text } = await parts.metrics(request.headers.accept)
      return reply.header('content-type', contentType).send(text)
    })
  })
  return app
}

/** Pages of figures at a time, until they are taken: they are large, and whoever asks for them shows no credential. */
const MOST_PAGES = 64

function atMost(most: number) {
  let open = 0
  return async (_request: FastifyRequest, reply: FastifyReply) => {
    if (open >= most) return reply.code(503).header('retry-after', '1').send({ message: 'Too many ask at once.' })
    open += 1
    bodyOf(reply.raw as Response).once('close', () => {
      open -= 1
    })
  }
}

const OPERATIONS_PATHS = new Set(['/healthz', '/readyz', '/status', '/metrics'])

/** It is refused, or dropped, where all others are. */
function isInDoubt(request: Request): boolean {
  return isTooLate(request) || doubtOf(request) !== undefined
}

function isForOperations({ method, url = '' }: Request): boolean {
  if (method !== 'GET') return false
  const query = url.indexOf('?')
  return OPERATIONS_PATHS.has(query < 0 ? url : url.slice(0, query))
}
