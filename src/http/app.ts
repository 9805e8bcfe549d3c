// The Fastify app: the data plane on every path, the operations routes beside it. Built apart from the process, so that
// tests can run it on a port of their own.
import type { Socket } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { createOnePort, type OnePortOptions } from '../transport/onePort.ts'
import { answerClientError } from './clientError.ts'
import { createDataPlane, type DataPlaneParts } from './dataPlane.ts'

export interface Readiness {
  status: 'ready' | 'degraded' | 'draining'
  parts: Record<string, string>
}

export interface AppParts {
  port: OnePortOptions
  dataPlane: DataPlaneParts
  readiness: () => Readiness
  status: () => Promise<object>
  metrics: () => Promise<{ contentType: string; text: string }>
  /** A fault of ours, not of the client's. */
  fault: (error: unknown) => void
}

export function buildApp(parts: AppParts): FastifyInstance {
  const dataPlane = createDataPlane(parts.dataPlane)
  const app = Fastify({
    serverFactory: handler => createOnePort(parts.port, handler as Parameters<typeof createOnePort>[1]) as never,
    clientErrorHandler: (error, socket) => answerClientError(error, socket as Socket, parts.dataPlane.newId()),
    // An undecodable path is the data plane's to refuse, in Bedrock's shape.
    frameworkErrors: (_error, request, reply) => {
      reply.hijack()
      serve(request.raw, reply.raw)
    },
    exposeHeadRoutes: false,
    // A request that raced with the shutdown is served: its client has done nothing wrong.
    return503OnClosing: false,
    logger: false,
  })
  const serve: typeof dataPlane = (request, response) =>
    dataPlane(request, response).catch(error => {
      parts.fault(error)
      response.destroy()
    })

  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    const readiness = parts.readiness()
    return reply.code(readiness.status === 'draining' ? 503 : 200).send(readiness)
  })
  app.get('/status', async () => parts.status())
  app.get('/metrics', async (_request, reply) => {
    const { contentType, text } = await parts.metrics()
    return reply.header('content-type', contentType).send(text)
  })
  // Taken over before any body parser: the body must stay the bytes that came.
  app.route({
    method: app.supportedMethods,
    url: '/*',
    onRequest: (request, reply) => {
      reply.hijack()
      serve(request.raw, reply.raw)
    },
    handler: () => {},
  })
  app.setNotFoundHandler((request, reply) => {
    reply.hijack()
    serve(request.raw, reply.raw)
  })
  return app
}
