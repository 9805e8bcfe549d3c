// Where Redis is, as one line of text, so that REDIS_URL alone can say it:
//   redis://[user:password@]host[:port][/database]          rediss:// is the same over TLS
//   redis+cluster://[user:password@]host:port,host:port     any nodes of one Redis Cluster; rediss+cluster:// over TLS
//   unix://[user:password@]/path/to/redis.sock
// The list lives in the URL, and the scheme names the Cluster: one text stays one setting, and two hosts can't be taken for
// two independent servers. User and password may be percent-encoded; `:password@` alone is the default user's.

export interface RedisNode {
  host: string
  port: number
}

export interface RedisAddress {
  kind: 'server' | 'cluster' | 'socket'
  tls: boolean
  /** One for a server, at least one for a cluster, none for a socket. */
  nodes: RedisNode[]
  path?: string
  username?: string
  password?: string
  database: number
}

/** `expected` never repeats the text: it may hold a password. */
export type ParsedRedisUrl = { kind: 'ok'; address: RedisAddress } | { kind: 'faulty'; expected: string }

const DEFAULT_PORT = 6379
const SHAPE = 'a Redis URL: redis[s]://host:6379, redis[s]+cluster://host:6379,host:6379 or unix:///path'

export function parseRedisUrl(text: string): ParsedRedisUrl {
  const parts = /^(rediss?)(\+cluster)?:\/\/(?:(.*)@)?([^@/?#\s]+)(?:\/(\d*))?$/is.exec(text)
  if (!parts) return parseSocketUrl(text)
  const [, scheme, cluster, userInfo, hosts, database] = parts
  const nodes = hosts!.split(',').map(parseNode)
  if (nodes.some(node => node === undefined)) return faulty('hosts as name:port, each port 1 to 65535')
  if (!cluster && nodes.length > 1) return faulty('one host, or redis+cluster:// before a list of them')
  if (cluster && Number(database || 0) !== 0) return faulty('no database number: a Redis Cluster has only 0')
  const user = parseUser(userInfo)
  if (typeof user === 'string') return faulty(user)
  const address: RedisAddress = {
    kind: cluster ? 'cluster' : 'server',
    tls: scheme!.toLowerCase() === 'rediss',
    nodes: nodes.filter(node => node !== undefined),
    database: Number(database || 0),
    ...user,
  }
  return { kind: 'ok', address }
}

function parseSocketUrl(text: string): ParsedRedisUrl {
  const parts = /^unix:\/\/(?:(.*)@)?(\/[^@?#]+)$/is.exec(text)
  if (!parts) return faulty(SHAPE)
  const user = parseUser(parts[1])
  if (typeof user === 'string') return faulty(user)
  return { kind: 'ok', address: { kind: 'socket', tls: false, nodes: [], path: parts[2]!, database: 0, ...user } }
}

function parseNode(text: string): RedisNode | undefined {
  const parts = /^(?:\[([0-9a-f:.]+)\]|([\w.-]+))(?::(\d{1,5}))?$/i.exec(text)
  if (!parts) return undefined
  const port = Number(parts[3] ?? DEFAULT_PORT)
  return port >= 1 && port <= 65535 ? { host: parts[1] ?? parts[2]!, port } : undefined
}

/** A text is what was expected instead. */
function parseUser(userInfo: string | undefined): Pick<RedisAddress, 'username' | 'password'> | string {
  if (userInfo === undefined || userInfo === '') return {}
  const colon = userInfo.indexOf(':')
  if (colon < 0 || colon === userInfo.length - 1) return 'a password after the user: user:password@host'
  try {
    const username = decodeURIComponent(userInfo.slice(0, colon))
    const password = decodeURIComponent(userInfo.slice(colon + 1))
    return username === '' ? { password } : { username, password }
  } catch {
    return 'a user and password whose % signs are percent-encoded (%25)'
  }
}

/** Without user and password: for logs. */
export function describeAddress({ kind, tls, nodes, path, database }: RedisAddress): string {
  if (kind === 'socket') return `unix://${path}`
  const hosts = nodes.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',')
  return `redis${tls ? 's' : ''}${kind === 'cluster' ? '+cluster' : ''}://${hosts}${database ? `/${database}` : ''}`
}

function faulty(expected: string): ParsedRedisUrl {
  return { kind: 'faulty', expected }
}
