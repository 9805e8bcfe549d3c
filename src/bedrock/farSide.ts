// Where a pool's calls go and in whose name: the endpoint of its Region, or the one configured, and the credentials.
import { BedrockRuntimeClient } from '@aws-sdk/client-bedrock-runtime'
import type { PoolSettings } from '../domain/model.ts'
import { type Credentials, createSigner, type Signable } from './signer.ts'

export interface FarSide {
  /** scheme://host[:port] */
  origin: string
  host: string
  /** Put before every path: '' or '/base'. */
  basePath: string
  /** Headers that prove who calls, host included; flat. */
  authorize(request: Signable, nowMs: number): Promise<string[]>
}

export interface FarSideSettings {
  /** Where pools with `endpoint: simulator` go. */
  simulatorUrl?: string | undefined
  /** A Bedrock API key. It wins over SigV4, as in the AWS SDKs, but not over a pool's own `profile`. */
  bearerToken?: string | undefined
}

/** The simulator takes any signature; real credentials are never shown to it. */
const SIMULATOR_CREDENTIALS: Credentials = { accessKeyId: 'SIMULATOR', secretAccessKey: 'simulator' }
/** Signing name of both planes. */
const SERVICE = 'bedrock'

export const SIMULATOR = 'simulator'

/** The far side of a pool's data plane and, for `GET /inference-profiles…`, of its control plane. */
export function farSide(pool: PoolSettings, plane: 'runtime' | 'control', settings: FarSideSettings): FarSide {
  if (pool.endpoint === SIMULATOR) {
    if (!settings.simulatorUrl) throw new Error('a pool uses the simulator, but none was started')
    return signed(settings.simulatorUrl, pool.region, async () => SIMULATOR_CREDENTIALS)
  }
  const client = new BedrockRuntimeClient({
    region: pool.region,
    ...(pool.profile !== undefined && { profile: pool.profile }),
  })
  const url = pool.endpoint ?? resolveEndpoint(client, pool.region, plane)
  if (settings.bearerToken && pool.profile === undefined) return withBearer(url, settings.bearerToken)
  return signed(url, pool.region, async () => client.config.credentials())
}

/** By the SDK's own rules for the Region's partition; AWS_ENDPOINT_URL is not read: it may well point at Sluice. */
function resolveEndpoint(client: BedrockRuntimeClient, region: string, plane: 'runtime' | 'control'): string {
  const { url } = client.config.endpointProvider({ Region: region })
  return plane === 'runtime' ? url.href : url.href.replace('//bedrock-runtime.', '//bedrock.')
}

function signed(url: string, region: string, credentials: () => Promise<Credentials>): FarSide {
  const sign = createSigner({ credentials, region, service: SERVICE })
  return { ...place(url), authorize: sign }
}

function withBearer(url: string, token: string): FarSide {
  const where = place(url)
  const headers = ['host', where.host, 'authorization', `Bearer ${token}`]
  return { ...where, authorize: async () => headers }
}

function place(url: string): Pick<FarSide, 'origin' | 'host' | 'basePath'> {
  const { origin, host, pathname } = new URL(url)
  return { origin, host, basePath: pathname.replace(/\/+$/, '') }
}
