// Where a pool's calls go and in whose name: the endpoint of its Region, or the one configured, and the credentials.
import { BedrockRuntimeClient } from '@aws-sdk/client-bedrock-runtime'
import type { PoolSettings } from '../domain/model.ts'
import type { Operation } from '../wire/operations.ts'
import { type Credentials, createSigner, type Sign } from './signer.ts'
import { StandInCredentials } from './upstreamFault.ts'

export interface FarSide {
  /** scheme://host[:port] */
  origin: string
  host: string
  /** Put before every path: '' or '/base'. */
  basePath: string
  /** It may be another Sluice, or what stands in front of this one. */
  mayLeadBack: boolean
  /** Headers that prove who calls, host included; flat. */
  authorize: Sign
}

export interface FarSideSettings {
  /** Where pools with `endpoint: simulator` go. */
  simulatorUrl?: string | undefined
  /** A Bedrock API key. It wins over SigV4, as in the AWS SDKs, but not over a pool's own `profile`. */
  bearerToken?: string | undefined
}

/** The simulator takes any signature; real credentials are never shown to it. */
const SIMULATOR_CREDENTIALS: Credentials = { accessKeyId: 'SIMULATOR', secretAccessKey: 'simulator' }
/** Endpoints of Regions and of VPCs. */
const AWS_HOST = /\.(amazonaws\.com(\.cn)?|api\.aws)$/
/** Bedrock's own hosts, in every partition; a load balancer on AWS has no such label. */
const BEDROCK_LABEL = /(^|\.)bedrock(-[a-z]+)*\.[a-z]+-[a-z-]+-\d\./
/** Of AWS's own (its API reference); docker-compose.yml gives a shorter one where its shell has none. */
const SHORTEST_ACCESS_KEY_ID = 16
/** Signing name of both planes. */
const SERVICE = 'bedrock'

export const SIMULATOR = 'simulator'

/** The far sides of a pool: its data plane and, for `GET /inference-profiles…`, its control plane. */
export function farSides(pool: PoolSettings, settings: FarSideSettings): Record<Operation['plane'], FarSide> {
  if (pool.endpoint === SIMULATOR) {
    if (!settings.simulatorUrl) throw new Error('a pool uses the simulator, but none was started')
    const side = signed(settings.simulatorUrl, pool.region, async () => SIMULATOR_CREDENTIALS)
    return { runtime: side, control: side }
  }
  const client = new BedrockRuntimeClient({
    region: pool.region,
    ...(pool.profile !== undefined && { profile: pool.profile }),
  })
  const isAws = pool.endpoint === undefined || AWS_HOST.test(new URL(pool.endpoint).hostname)
  const at = (url: string): FarSide => {
    if (settings.bearerToken && pool.profile === undefined) return withBearer(url, settings.bearerToken)
    return signed(url, pool.region, async () => {
      const credentials = await client.config.credentials()
      if (isAws && credentials.accessKeyId.length < SHORTEST_ACCESS_KEY_ID) throw new StandInCredentials()
      return credentials
    })
  }
  // By the SDK's own rules for the Region's partition; AWS_ENDPOINT_URL is not read: it may well point at Sluice.
  const url = pool.endpoint ?? client.config.endpointProvider({ Region: pool.region }).url.href
  return { runtime: at(url), control: at(url.replace('//bedrock-runtime.', '//bedrock.')) }
}

function signed(url: string, region: string, credentials: () => Promise<Credentials>): FarSide {
  const sign = createSigner({ credentials, region, service: SERVICE })
  return { ...place(url), authorize: sign }
}

function withBearer(url: string, token: string): FarSide {
  const where = place(url)
  const headers = ['host', where.host, 'authorization', `Bearer ${token}`]
  return { ...where, authorize: () => headers }
}

function place(url: string): Omit<FarSide, 'authorize'> {
  const { origin, host, hostname, pathname } = new URL(url)
  const mayLeadBack = !BEDROCK_LABEL.test(hostname)
  return { origin, host, basePath: pathname.replace(/\/+$/, ''), mayLeadBack }
}
