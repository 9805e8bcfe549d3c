// What the lockfile and node_modules say of the packages that are shipped: under which licence, and what runs at their
// installation. Pure but for reading these files.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Those that ask for no more than to be named. */
const ALLOWED_LICENCES = new Set([
  ...['0BSD', 'Apache-2.0', 'BlueOak-1.0.0', 'BSD-2-Clause', 'BSD-3-Clause', 'CC0-1.0', 'ISC', 'MIT', 'MIT-0'],
  ...['Python-2.0', 'Unlicense'],
])

interface LockedPackage {
  version?: string
  license?: string
  dev?: boolean
  link?: boolean
  hasInstallScript?: boolean
}

interface Manifest {
  license?: string | { type?: string }
  licenses?: { type?: string }[]
  allowScripts?: Record<string, boolean>
}

/** One line for each fault: the package, what is wrong, the remedy. */
export function dependencyFaults(root: string): string[] {
  const { packages } = readJson<{ packages: Record<string, LockedPackage> }>(join(root, 'package-lock.json'))
  const allowed = readJson<Manifest>(join(root, 'package.json')).allowScripts ?? {}
  return Object.entries(packages)
    .filter(([path]) => path !== '')
    .flatMap(([path, locked]) => [
      ...(locked.dev ? [] : licenceFaults(root, path, locked)),
      ...scriptFaults(path, locked, allowed),
    ])
}

export function shippedCount(root: string): number {
  const { packages } = readJson<{ packages: Record<string, LockedPackage> }>(join(root, 'package-lock.json'))
  return Object.entries(packages).filter(([path, locked]) => path !== '' && !locked.dev).length
}

function licenceFaults(root: string, path: string, locked: LockedPackage): string[] {
  const licence = licenceOf(readIfThere<Manifest>(join(root, path, 'package.json'))) ?? locked.license
  const who = `${nameOf(path)}@${locked.version}`
  if (licence === undefined) return [`${who} names no licence: read its files, then allow it by name or replace it`]
  if (isAllowed(licence)) return []
  return [`${who} is under ${licence}: replace it, or allow that licence in test/audit/dependencies.ts with a reason`]
}

function scriptFaults(path: string, locked: LockedPackage, allowed: Record<string, boolean>): string[] {
  if (!locked.hasInstallScript || allowed[nameOf(path)]) return []
  return [
    `${nameOf(path)}@${locked.version} runs a script when it is installed: replace it, or read the script and name it in package.json's allowScripts`,
  ]
}

/** Of "a OR b" one must be allowed, of "a AND b" both. A mixture in brackets is left to a person. */
function isAllowed(licence: string): boolean {
  const bare = licence.replace(/^\(([^()]*)\)$/, '$1')
  return bare.split(' OR ').some(choice => choice.split(' AND ').every(one => ALLOWED_LICENCES.has(one.trim())))
}

function licenceOf(manifest: Manifest | undefined): string | undefined {
  const { license, licenses } = manifest ?? {}
  if (typeof license === 'string') return license
  return license?.type ?? licenses?.map(one => one.type ?? '?').join(' AND ')
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
}

/** A package for another platform is in the lockfile alone. */
function readIfThere<T>(file: string): T | undefined {
  try {
    return readJson<T>(file)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function readJson<T>(file: string): T {
  return JSON.parse(readFileSync(file, 'utf8')) as T
}
