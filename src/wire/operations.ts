// Which Bedrock operation a request is, from its method and its RAW path. The path is split on '/' first and the one
// segment that holds an id is percent-decoded once afterwards: an ARN's slash travels as %2F and must not split it.

export type OperationName =
  | 'InvokeModel'
  | 'InvokeModelWithResponseStream'
  | 'Converse'
  | 'ConverseStream'
  | 'CountTokens'
  | 'ApplyGuardrail'
  | 'InvokeGuardrailChecks'
  | 'StartAsyncInvoke'
  | 'GetAsyncInvoke'
  | 'ListAsyncInvokes'
  | 'ChatCompletions'
  | 'Responses'
  | 'Messages'
  | 'ListInferenceProfiles'
  | 'GetInferenceProfile'

export interface Operation {
  name: OperationName
  method: 'GET' | 'POST'
  /** Its path, with `{id}` in place of every id. */
  route: string
  /** Whether it draws on the requests and tokens quotas. */
  metered: boolean
  /** Whose error body its clients parse; all of them carry Bedrock's `message` too. */
  dialect: 'bedrock' | 'openai' | 'anthropic'
  /** Which AWS endpoint serves it. */
  plane: 'runtime' | 'control'
  /** Where the model's id is. */
  modelIn: 'path' | 'body' | 'nowhere'
}

export interface Route {
  operation: Operation
  /** The decoded id segment: a modelId, guardrail id or ARN; absent where the path has none. */
  id?: string
}

export type RouteMatch =
  | { kind: 'found'; route: Route }
  | { kind: 'wrong-method'; allowed: string[] }
  | { kind: 'unknown' }
  | { kind: 'malformed'; reason: string }

type Template = (string | typeof ID)[]
const ID = Symbol('one percent-decoded segment')

type Named = Omit<Operation, 'route'>

function operation(name: OperationName, method: Operation['method'], rest: Partial<Named> = {}): Named {
  return { name, method, metered: false, dialect: 'bedrock', plane: 'runtime', modelIn: 'nowhere', ...rest }
}

const INVOCATION = { metered: true, modelIn: 'path' } as const

const OPERATIONS: [Template, Named][] = [
  [['model', ID, 'invoke'], operation('InvokeModel', 'POST', INVOCATION)],
  [['model', ID, 'invoke-with-response-stream'], operation('InvokeModelWithResponseStream', 'POST', INVOCATION)],
  [['model', ID, 'converse'], operation('Converse', 'POST', INVOCATION)],
  [['model', ID, 'converse-stream'], operation('ConverseStream', 'POST', INVOCATION)],
  [['model', ID, 'count-tokens'], operation('CountTokens', 'POST', { modelIn: 'path' })],
  [['guardrail', ID, 'version', ID, 'apply'], operation('ApplyGuardrail', 'POST')],
  [['guardrail-checks', 'invoke'], operation('InvokeGuardrailChecks', 'POST')],
  [['async-invoke'], operation('StartAsyncInvoke', 'POST', { metered: true, modelIn: 'body' })],
  [['async-invoke'], operation('ListAsyncInvokes', 'GET')],
  [['async-invoke', ID], operation('GetAsyncInvoke', 'GET')],
  [
    ['openai', 'v1', 'chat', 'completions'],
    operation('ChatCompletions', 'POST', { metered: true, modelIn: 'body', dialect: 'openai' }),
  ],
  [
    ['openai', 'v1', 'responses'],
    operation('Responses', 'POST', { metered: true, modelIn: 'body', dialect: 'openai' }),
  ],
  [
    ['anthropic', 'v1', 'messages'],
    operation('Messages', 'POST', { metered: true, modelIn: 'body', dialect: 'anthropic' }),
  ],
  [['inference-profiles'], operation('ListInferenceProfiles', 'GET', { plane: 'control' })],
  [['inference-profiles', ID], operation('GetInferenceProfile', 'GET', { plane: 'control' })],
]

const TABLE = OPERATIONS.map(([template, named]): [Template, Operation] => {
  const route = template.map(part => `/${part === ID ? '{id}' : part}`).join('')
  return [template, { ...named, route }]
})

/** Bedrock's own bound on a modelId (botocore's pattern). */
const MAX_ID_CHARS = 2048
/** Several times what any operation has: each is decoded, sorted and signed. */
const MAX_PARAMETERS = 64
/** RFC 9112: visible ASCII without a fragment. Of anything else two readers may see two things, and sign two. */
const TARGET = /^\/[!"$-~]*$/

/** `rawUrl` is the request target as it came: path and query, undecoded. */
export function matchOperation(method: string, rawUrl: string): RouteMatch {
  if (rawUrl[0] !== '/') return { kind: 'unknown' }
  if (!TARGET.test(rawUrl))
    return { kind: 'malformed', reason: 'the path and query are not visible ASCII, or hold a #: percent-encode it' }
  const query = rawUrl.indexOf('?')
  if (query >= 0 && hasMoreParameters(rawUrl, query))
    return { kind: 'malformed', reason: `the query has more than ${MAX_PARAMETERS} parameters` }
  const segments = (query < 0 ? rawUrl : rawUrl.slice(0, query)).split('/')
  const allowed: string[] = []
  for (const [template, operation] of TABLE) {
    if (!fits(template, segments)) continue
    if (operation.method !== method) allowed.push(operation.method)
    else return route(template, segments, operation)
  }
  return allowed.length > 0 ? { kind: 'wrong-method', allowed } : { kind: 'unknown' }
}

function hasMoreParameters(rawUrl: string, query: number): boolean {
  let parameters = 1
  for (let at = rawUrl.indexOf('&', query); at >= 0; at = rawUrl.indexOf('&', at + 1)) {
    parameters += 1
    if (parameters > MAX_PARAMETERS) return true
  }
  return false
}

/** `segments[0]` is the empty string before the path's first slash. */
function fits(template: Template, segments: string[]): boolean {
  if (segments.length !== template.length + 1) return false
  return template.every((part, i) => (part === ID ? isId(segments[i + 1]!) : segments[i + 1] === part))
}

/** Dot segments name other paths: whoever resolves them, we match and sign what he would not read. */
function isId(segment: string): boolean {
  return segment !== '' && !/^(\.|%2e){1,2}$/i.test(segment)
}

function route(template: Template, segments: string[], operation: Operation): RouteMatch {
  const at = template.indexOf(ID)
  if (at < 0) return { kind: 'found', route: { operation } }
  const id = decodeOnce(segments[at + 1]!)
  if (id === undefined) return { kind: 'malformed', reason: 'the id in the path is not valid percent-encoded UTF-8' }
  if (id.length > MAX_ID_CHARS)
    return { kind: 'malformed', reason: `the id in the path is longer than ${MAX_ID_CHARS} characters` }
  return { kind: 'found', route: { operation, id } }
}

function decodeOnce(segment: string): string | undefined {
  if (!segment.includes('%')) return segment
  try {
    return decodeURIComponent(segment)
  } catch {
    return undefined
  }
}

/** An id as the AWS SDKs write it into a path: encodeURIComponent and the five characters it leaves alone. */
export function encodeId(id: string): string {
  return encodeURIComponent(id).replace(/[!'()*]/g, c => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
}
