// The simulator's shapes against real recordings: same statuses, header names, events and JSON paths.
import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parse } from 'yaml'
import { dig, drive, type Frame, frames, unwrapped } from './drive.ts'

const FOLDER = new URL('../../../shared/data/bedrock-recordings/', import.meta.url)
/** The recorder's own, and what belongs to the connection. */
const NOT_COMPARED = new Set(['set-cookie', 'connection', 'transfer-encoding', 'content-length'])

interface Interaction {
  request: { uri: string; body: string | null }
  response: { status: { code: number }; headers: Record<string, unknown>; body: { string: string | Uint8Array } }
}

function interactions(file: string): Interaction[] {
  return (parse(readFileSync(new URL(file, FOLDER), 'utf8')) as { interactions: Interaction[] }).interactions
}

/** Every path with the type found there: "usage.inputTokens number". Items of a list share one path. */
function shape(value: unknown, path = ''): Set<string> {
  if (Array.isArray(value)) return new Set(value.flatMap(item => [...shape(item, `${path}[]`)]))
  if (typeof value !== 'object' || value === null) return new Set([`${path} ${value === null ? 'null' : typeof value}`])
  return new Set(Object.entries(value).flatMap(([key, inner]) => [...shape(inner, `${path}.${key}`)]))
}

/** Where the recorded model called a tool of its own accord, ours has to be told to. */
function forcingTools(body: object, callsTool: boolean): object {
  if (!callsTool) return body
  const toolConfig = dig(body, 'toolConfig')
  if (typeof toolConfig !== 'object') return { ...body, tool_choice: { type: 'any' } }
  return { ...body, toolConfig: { ...toolConfig, toolChoice: { any: {} } } }
}

function compareNames(ours: string[], theirs: string[]): void {
  const names = (list: string[]) =>
    new Set(list.map(name => name.toLowerCase()).filter(name => !NOT_COMPARED.has(name)))
  assert.deepEqual([...names(ours)].sort(), [...names(theirs)].sort())
}

/** A model that calls a tool says something first; ours does not. */
function compareShapes(ours: Set<string>, theirs: Set<string>, callsTool: boolean): void {
  const missing = [...theirs].filter(path => !ours.has(path))
  assert.deepEqual(callsTool ? missing.filter(path => !/text/i.test(path)) : missing, [], 'recorded, not answered')
  assert.deepEqual(
    [...ours].filter(path => !theirs.has(path)),
    [],
    'answered, never recorded',
  )
}

interface ModelEvent {
  kind: string
  payload: unknown
}

function events(list: Frame[]): ModelEvent[] {
  return list.map(({ headers, payload }) => {
    const inner = unwrapped(payload)
    const name = headers.find(([header]) => header === ':event-type')?.[1] ?? ''
    const type = dig(inner, 'type') ?? Object.keys(Object(inner)).find(key => !key.startsWith('amazon-bedrock'))
    return { kind: name === 'chunk' ? `chunk ${type}` : name, payload: inner }
  })
}

/** The order of events, however often the model said a little more. */
function order(list: ModelEvent[]): string {
  const kinds = list.map(event => event.kind).join(',')
  return kinds
    .replace(/(chunk contentBlockDelta,chunk contentBlockStop,)+/g, '$1')
    .replace(/([^,]*Delta|[^,]*_delta)(,\1)+/gi, '$1')
}

function compareStreams(ours: Frame[], theirs: Frame[], callsTool: boolean): void {
  for (const frame of ours)
    assert.deepEqual(
      frame.headers.map(([name]) => name),
      theirs[0]!.headers.map(([name]) => name),
    )
  const [a, b] = [events(ours), events(theirs)]
  if (!callsTool) assert.equal(order(a), order(b))
  const shapes = (list: ModelEvent[]) => new Set(list.flatMap(({ kind, payload }) => [...shape(payload, kind)]))
  compareShapes(shapes(a), shapes(b), callsTool)
}

const files = existsSync(FOLDER) ? readdirSync(FOLDER).filter(name => name.endsWith('.yaml')) : []

test('the recordings are there to compare with', t => {
  if (files.length === 0) t.skip(`The folder ${FOLDER.pathname} is absent, so no shape was compared with a recording.`)
})

for (const file of files)
  for (const [i, { request, response }] of interactions(file).entries())
    test(`answers in the recorded shape: ${file}, interaction ${i}`, async () => {
      const { string } = response.body
      const recorded = typeof string === 'string' ? Buffer.from(string) : Buffer.from(string)
      const isStream = typeof string !== 'string'
      const said = isStream ? JSON.stringify(events(frames(recorded))) : recorded.toString()
      const callsTool = /"tool_use"/.test(said)
      const sent = request.body === null ? Buffer.alloc(0) : forcingTools(JSON.parse(request.body), callsTool)
      const seen = await drive().ask(new URL(request.uri).pathname, sent)
      assert.equal(seen.status, response.status.code)
      compareNames(seen.headerNames, Object.keys(response.headers))
      if (isStream) compareStreams(frames(seen.body), frames(recorded), callsTool)
      else compareShapes(shape(JSON.parse(seen.body.toString())), shape(JSON.parse(recorded.toString())), callsTool)
    })
