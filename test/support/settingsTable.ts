// docs/configuration.md's table of settings, made from the schema, so that it cannot say anything else.
import { z } from 'zod'
import { configSchema } from '../../src/config/schema.ts'

/** The parts of JSON Schema that our settings use. */
interface Node {
  type?: string
  description?: string
  default?: unknown
  const?: unknown
  enum?: unknown[]
  anyOf?: Node[]
  minimum?: number
  maximum?: number
  exclusiveMinimum?: number
  properties?: Record<string, Node>
  required?: string[]
  items?: Node
}

/** One row a setting, in the schema's order: name, type and bounds, default, meaning. */
export function settingsTable(): string {
  const schema = z.toJSONSchema(configSchema, { io: 'input' }) as Node
  return ['| setting | type | default | meaning |', '|---|---|---|---|', ...rows(schema, '')].join('\n')
}

function rows(section: Node, prefix: string): string[] {
  return Object.entries(section.properties ?? {}).flatMap(([key, node]) => {
    const name = prefix + key
    const required = section.required?.includes(key) ?? false
    const row = `| \`${name}\` | ${typeOf(node)} | ${defaultOf(node, required)} | ${node.description ?? ''} |`
    // One or a list of them: the one says all.
    const within = node.anyOf?.[0] ?? node
    const items = node.items?.anyOf ?? [node.items ?? {}]
    return [row, ...rows(within, `${name}.`), ...items.flatMap(item => rows(item, `${name}[].`))]
  })
}

function typeOf(node: Node): string {
  if (node.anyOf) return node.anyOf.map(typeOf).join(' or ')
  if (node.const !== undefined) return `\`${node.const}\``
  if (node.enum) return node.enum.map(value => `\`${value}\``).join(', ')
  if (node.type === 'object') return 'section'
  if (node.type === 'array') return `list of ${itemsOf(node.items ?? {})}`
  return `${node.type === 'integer' ? 'whole number' : node.type}${boundsOf(node)}`
}

function itemsOf(items: Node): string {
  if (items.anyOf) return typeOf(items)
  return items.type === 'object' ? 'sections' : `${items.type}s`
}

function boundsOf({ minimum, exclusiveMinimum, maximum }: Node): string {
  if (exclusiveMinimum !== undefined) return `, above ${exclusiveMinimum}, at most ${maximum}`
  if (minimum === undefined || maximum === undefined || maximum === Number.MAX_SAFE_INTEGER) return ''
  return `, ${minimum} to ${maximum}`
}

function defaultOf(node: Node, required: boolean): string {
  if (required) return '**required**'
  if (node.default === undefined || typeof node.default === 'object') return ''
  return `\`${node.default}\``
}
