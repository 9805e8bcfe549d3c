// Whether the server is one the ledger can stand on, from the text of INFO. CONFIG is often forbidden (ElastiCache), INFO
// seldom, and it names the eviction policy as well. What can't be read is unknown, never a fault.

export interface ServerCheck {
  /** `redis 7.4.1`, `valkey 8.0.2`, or `unknown`. */
  server: string
  /** Whole sentences for the log. */
  warnings: string[]
}

/** Sharded pub/sub and scripts' own effects replication begin here. */
const OLDEST_REDIS = 7
const OLDEST_VALKEY = 8

/** `info`: undefined when the server did not want to tell. `clustered`: how we were told to speak to it. */
export function checkServer(info: string | undefined, clustered: boolean): ServerCheck {
  if (info === undefined) {
    return {
      server: 'unknown',
      warnings: ['Redis did not answer INFO, so its version and maxmemory-policy are unknown'],
    }
  }
  const fields = new Map(info.split(/\r?\n/).map(line => splitField(line)))
  const isValkey = fields.get('server_name') === 'valkey' || fields.has('valkey_version')
  const name = isValkey ? 'valkey' : 'redis'
  const version = fields.get(`${name}_version`)
  const warnings = [
    versionWarning(name, version),
    policyWarning(fields.get('maxmemory_policy')),
    modeWarning(fields.get('redis_mode'), clustered),
    fields.get('role') === 'slave' ? 'Redis is a replica, which takes no writes: name the primary' : undefined,
  ]
  return {
    server: version === undefined ? 'unknown' : `${name} ${version}`,
    warnings: warnings.filter(warning => warning !== undefined),
  }
}

function splitField(line: string): [string, string] {
  const colon = line.indexOf(':')
  return colon < 0 ? [line, ''] : [line.slice(0, colon), line.slice(colon + 1)]
}

function versionWarning(name: 'redis' | 'valkey', version: string | undefined): string | undefined {
  const oldest = name === 'valkey' ? OLDEST_VALKEY : OLDEST_REDIS
  if (version === undefined) return `the version of ${name} is unknown; it must be ${oldest} or later`
  return Number.parseInt(version, 10) >= oldest ? undefined : `${name} ${version} is too old: use ${oldest} or later`
}

function policyWarning(policy: string | undefined): string | undefined {
  if (policy === undefined) return 'maxmemory-policy is unknown; it must be noeviction'
  if (policy === 'noeviction') return undefined
  return `maxmemory-policy is ${policy}, so Redis may drop the ledger's keys under memory pressure: set noeviction`
}

function modeWarning(mode: string | undefined, clustered: boolean): string | undefined {
  if (mode !== 'cluster' || clustered) return undefined
  return 'Redis is a node of a cluster: use redis+cluster:// (or rediss+cluster://), else most keys are out of reach'
}
