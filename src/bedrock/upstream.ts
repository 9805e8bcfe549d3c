// Signs, sends and listens: undici at the dispatch level, bytes handed on as they come.
import { Agent } from 'undici'
import type { Clock } from '../domain/clock.ts'
import type { PoolSettings } from '../domain/model.ts'
import type { Upstream, UpstreamRequest } from '../gateway/ports.ts'
import type { Operation } from '../wire/operations.ts'
import { type FarSide, type FarSideSettings, farSides } from './farSide.ts'
import { upstreamHeaders } from './headers.ts'
import { rewriteModelId } from './modelIdRewrite.ts'
import { Reply } from './reply.ts'

export interface UpstreamSettings {
  connectTimeoutMs: number
  /** Models may think for minutes before the first byte. */
  headersTimeoutMs: number
  /** Longest silence in the middle of a reply. */
  idleTimeoutMs: number
  /** Open connections to one endpoint; sends beyond it wait for one. */
  maxConnections: number
}

/** Idle connections are dropped before AWS's load balancers drop them (60 s): a dead one would cost a request. */
const KEEP_ALIVE_MS = 30_000
/** Bounds what a garbage upstream can make us hold. */
const MAX_RESPONSE_HEADER_BYTES = 64 * 1024

export interface BedrockUpstream extends Upstream {
  /** Drops every connection; call when nothing is in flight, or what is has been given up. */
  close(): Promise<void>
}

export function createUpstream(settings: UpstreamSettings & FarSideSettings, clock: Clock): BedrockUpstream {
  const agent = new Agent({
    connections: settings.maxConnections,
    connect: { timeout: settings.connectTimeoutMs },
    headersTimeout: settings.headersTimeoutMs,
    bodyTimeout: settings.idleTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
    pipelining: 1,
  })
  const known = new Map<PoolSettings, ReturnType<typeof farSides>>()
  const sideOf = (pool: PoolSettings, plane: Operation['plane']): FarSide => {
    let sides = known.get(pool)
    if (!sides) {
      sides = farSides(pool, settings)
      known.set(pool, sides)
    }
    return sides[plane]
  }
  return {
    send(pool, request, receiver) {
      const reply = new Reply(request.operation, receiver, clock)
      const dispatched = async () => dispatch(agent, sideOf(pool, request.operation.plane), pool, request, reply, clock)
      // A fault before the dispatch (no credentials, say) is the upstream's as much as one after it.
      dispatched().catch(error => reply.failed(error))
      return () => reply.abandon()
    },
    close: () => agent.destroy(),
  }
}

async function dispatch(
  agent: Agent,
  side: FarSide,
  pool: PoolSettings,
  request: UpstreamRequest,
  reply: Reply,
  clock: Clock,
): Promise<void> {
  const { rawUrl, body } = addressed(pool, request)
  const path = side.basePath + rawUrl
  const query = path.indexOf('?')
  const proof = await side.authorize(
    {
      method: request.operation.method,
      host: side.host,
      rawPath: query < 0 ? path : path.slice(0, query),
      rawQuery: query < 0 ? '' : path.slice(query + 1),
      body,
    },
    clock.nowMs(),
  )
  if (reply.abandoned) return
  agent.dispatch(
    {
      origin: side.origin,
      path,
      method: request.operation.method,
      headers: upstreamHeaders(request.headers).concat(proof),
      body: body.length > 0 ? body : null,
    },
    reply,
  )
}

function addressed(pool: PoolSettings, request: UpstreamRequest): { rawUrl: string; body: Buffer } {
  if (pool.modelId === undefined || request.modelId === undefined || pool.modelId === request.modelId) return request
  return rewriteModelId(request, request.operation, pool.modelId)
}
