// Signs, sends and listens: undici at the dispatch level, bytes handed on as they come.
import { type Dispatcher, Pool } from 'undici'
import type { Clock } from '../domain/clock.ts'
import type { PoolSettings } from '../domain/model.ts'
import type { Upstream, UpstreamRequest } from '../gateway/ports.ts'
import { rewriteModelId } from '../wire/modelIdRewrite.ts'
import type { Operation } from '../wire/operations.ts'
import { viaOnward } from '../wire/via.ts'
import { type FarSide, type FarSideSettings, farSides } from './farSide.ts'
import { upstreamHeaders } from './headers.ts'
import { withoutSignature } from './query.ts'
import { Reply } from './reply.ts'
import type { Signable } from './signer.ts'
import { upstreamFault } from './upstreamFault.ts'

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
/**
 * Bounds what a garbage upstream can make us hold, and hand on: node's clients take no more, and NGINX takes a head beyond its
 * proxy_buffer_size (32k in nginx.conf) for a server that has failed.
 */
const MAX_RESPONSE_HEADER_BYTES = 16 * 1024

export interface BedrockUpstream extends Upstream {
  /** What stands in the way of signing calls to the pool; undefined: nothing. No call is made. */
  trouble(pool: PoolSettings): Promise<string | undefined>
  /** Drops every connection; call when nothing is in flight, or what is has been given up. */
  close(): Promise<void>
}

/** A far side and the connections to its origin. */
interface Way {
  side: FarSide
  connections: Dispatcher
}

export function createUpstream(settings: UpstreamSettings & FarSideSettings, clock: Clock): BedrockUpstream {
  const ways = new Map<PoolSettings, Record<Operation['plane'], Way>>()
  const byOrigin = new Map<string, Pool>()
  const wayOf = (side: FarSide): Way => {
    let connections = byOrigin.get(side.origin)
    if (!connections) {
      connections = connect(side.origin, settings)
      byOrigin.set(side.origin, connections)
    }
    return { side, connections }
  }
  const waysOf = (pool: PoolSettings): Record<Operation['plane'], Way> => {
    const { runtime, control } = farSides(pool, settings)
    const both = { runtime: wayOf(runtime), control: wayOf(control) }
    ways.set(pool, both)
    return both
  }
  // A fault before the dispatch (no credentials, say) is the upstream's as much as one after it.
  const dispatch = async (pool: PoolSettings, request: UpstreamRequest, reply: Reply) => {
    const { side, connections } = (ways.get(pool) ?? waysOf(pool))[request.operation.plane]
    const { rawUrl, body } = addressed(pool, request)
    const path = side.basePath + withoutSignature(rawUrl)
    const { method } = request.operation
    const signed = side.authorize(signable(method, side.host, path, body), clock.nowMs())
    const proof = Array.isArray(signed) ? signed : await signed
    if (reply.abandoned) return
    const headers = upstreamHeaders(request.headers)
    headers.push(...proof)
    if (side.mayLeadBack) headers.push('via', viaOnward(request.headers))
    connections.dispatch({ path, method, headers, body: body.length > 0 ? body : null }, reply)
  }
  return {
    send(pool, request, receiver) {
      const reply = new Reply(request.operation, receiver, clock)
      dispatch(pool, request, reply).catch(error => reply.failed(error))
      return reply
    },
    async trouble(pool) {
      const { side } = (ways.get(pool) ?? waysOf(pool)).runtime
      try {
        await side.authorize(signable('GET', side.host, '/', Buffer.alloc(0)), clock.nowMs())
        return undefined
      } catch (error) {
        return upstreamFault(error, false).message
      }
    },
    async close() {
      await Promise.all([...byOrigin.values()].map(connections => connections.destroy()))
    },
  }
}

function connect(origin: string, settings: UpstreamSettings): Pool {
  return new Pool(origin, {
    connections: settings.maxConnections,
    connect: { timeout: settings.connectTimeoutMs },
    headersTimeout: settings.headersTimeoutMs,
    bodyTimeout: settings.idleTimeoutMs,
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: MAX_RESPONSE_HEADER_BYTES,
    pipelining: 1,
  })
}

function signable(method: string, host: string, path: string, body: Buffer): Signable {
  const query = path.indexOf('?')
  if (query < 0) return { method, host, rawPath: path, rawQuery: '', body }
  return { method, host, rawPath: path.slice(0, query), rawQuery: path.slice(query + 1), body }
}

function addressed(pool: PoolSettings, request: UpstreamRequest): { rawUrl: string; body: Buffer } {
  if (pool.modelId === undefined || request.modelId === undefined || pool.modelId === request.modelId) return request
  return rewriteModelId(request, request.operation, pool.modelId)
}
