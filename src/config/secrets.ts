// What the config names and does not hold: clients' signing secrets, in variables or files, and an identity provider's keys in
// a file. Read anew with every (re)load of the config, and checked with it.

import { fixedKeySet, type KeySet } from '../identity/keySet.ts'
import type { SigningKey } from '../identity/sigv4.ts'
import type { Fault } from './load.ts'
import type { Config } from './schema.ts'

export interface Secrets {
  /** By access key id. */
  signingKeys: ReadonlyMap<string, SigningKey>
  /** Undefined: the config names no file of keys. */
  keySet: KeySet | undefined
}

export const NO_SECRETS: Secrets = { signingKeys: new Map(), keySet: undefined }

export interface Sources {
  variables: Record<string, string | undefined>
  /** A file's text; throws when it cannot be read. */
  read: (path: string) => string
}

export type SecretsResult = { kind: 'ok'; secrets: Secrets } | { kind: 'faulty'; faults: Omit<Fault, 'place'>[] }

/** At an address from which its owner signs, wrong signatures are not slowed: a short one could be found. */
const SHORTEST_SECRET = 16
const LONGEST_SECRET = 1024
const SECRET_ENV_FOUND = 'one that was not, or was empty; a secretFile is read at every reload'

/** Nothing is read while `auth.mode` is `open`. No message shows what was found: it may be the secret itself, put in the wrong place. */
export function readSecrets({ auth, clients }: Config, sources: Sources): SecretsResult {
  if (auth.mode === 'open') return { kind: 'ok', secrets: NO_SECRETS }
  const faults: Omit<Fault, 'place'>[] = []
  const fault = (setting: string, expected: string, found: string) =>
    void faults.push({ setting, message: `expected ${expected}, found ${found}` })
  const signingKeys = new Map<string, SigningKey>()
  clients.forEach(({ name, sigv4 = [] }, i) => {
    sigv4.forEach(({ accessKeyId, secretEnv, secretFile }, j) => {
      const at = `clients[${i}].sigv4[${j}]`
      // What writes variables and files often leaves a line break; no secret ends with one.
      const secret = (secretEnv ? sources.variables[secretEnv] : textOf(secretFile!, sources))?.trim()
      if (!secret) {
        if (secretEnv)
          fault(`${at}.secretEnv`, 'the name of a variable that was set when Sluice started', SECRET_ENV_FOUND)
        else fault(`${at}.secretFile`, 'a file with the secret', 'none that this user may read, or an empty one')
      } else if (secret.length < SHORTEST_SECRET || secret.length > LONGEST_SECRET) {
        const found = secret.length < SHORTEST_SECRET ? 'a shorter one' : 'a longer one'
        fault(at, `a secret of ${SHORTEST_SECRET} to ${LONGEST_SECRET} characters`, found)
      } else signingKeys.set(accessKeyId, { client: name, secret })
    })
  })
  const { jwksFile } = auth.jwt ?? {}
  const keySet = jwksFile === undefined ? undefined : keySetOf(textOf(jwksFile, sources))
  if (jwksFile !== undefined && !keySet) {
    fault('auth.jwt.jwksFile', 'a file with a JSON Web Key Set', `none in ${JSON.stringify(jwksFile)}`)
  }
  return faults.length > 0 ? { kind: 'faulty', faults } : { kind: 'ok', secrets: { signingKeys, keySet } }
}

function textOf(path: string, { read }: Sources): string | undefined {
  try {
    return read(path)
  } catch {
    return undefined
  }
}

function keySetOf(text: string | undefined): KeySet | undefined {
  try {
    return text === undefined ? undefined : fixedKeySet(JSON.parse(text))
  } catch {
    return undefined
  }
}
