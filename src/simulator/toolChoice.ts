// Whether a request forces the model to call a tool, in each provider's words, and a least input that fits its schema.
import { at, isObject, type Json, type JsonObject, listAt, objectAt, textAt } from './json.ts'

export interface ForcedTool {
  name: string
  input: JsonObject
}

/** A schema nested deeper gets an empty object there. */
const MAX_SCHEMA_DEPTH = 8
const MAX_PROPERTIES = 100

export function forcedTool(body: JsonObject): ForcedTool | undefined {
  const converse = objectAt(body, 'toolConfig', 'toolChoice')
  if (converse) {
    const tools = listAt(body, 'toolConfig', 'tools').map(tool => at(tool, 'toolSpec'))
    const wanted = textAt(converse, 'tool', 'name')
    return wanted === undefined && !objectAt(converse, 'any') ? undefined : pick(tools, wanted)
  }
  const choice = at(body, 'tool_choice')
  const tools = listAt(body, 'tools').map(tool => objectAt(tool, 'function') ?? tool)
  if (choice === 'required') return pick(tools, undefined)
  const type = textAt(choice, 'type')
  if (type === 'any') return pick(tools, undefined)
  if (type !== 'tool' && type !== 'function') return undefined
  return pick(tools, textAt(choice, 'function', 'name') ?? textAt(choice, 'name'))
}

/** The tool of that name, or the first when none is named. */
function pick(tools: (Json | undefined)[], wanted: string | undefined): ForcedTool | undefined {
  const tool = tools.find(candidate => {
    const name = textAt(candidate, 'name')
    return name !== undefined && (wanted === undefined || name === wanted)
  })
  const name = textAt(tool, 'name')
  if (name === undefined) return undefined
  const schema = objectAt(tool, 'inputSchema', 'json') ?? objectAt(tool, 'input_schema') ?? objectAt(tool, 'parameters')
  return { name, input: leastObject(schema, 0) }
}

function leastObject(schema: JsonObject | undefined, depth: number): JsonObject {
  const input: JsonObject = {}
  if (depth > MAX_SCHEMA_DEPTH) return input
  for (const name of listAt(schema, 'required').slice(0, MAX_PROPERTIES))
    if (typeof name === 'string') input[name] = leastValue(at(schema, 'properties', name), depth + 1)
  return input
}

function leastValue(schema: Json | undefined, depth: number): Json {
  const choices = listAt(schema, 'enum')
  if (choices[0] !== undefined) return choices[0]
  const stated = at(schema, 'type')
  const type = Array.isArray(stated) ? stated[0] : stated
  if (type === 'object') return leastObject(isObject(schema) ? schema : undefined, depth)
  if (type === 'array') return []
  if (type === 'boolean') return false
  const least = at(schema, 'minimum')
  if (type === 'integer' || type === 'number') return typeof least === 'number' ? least : 1
  return type === 'null' ? null : 'text'
}
