// Where a request body holds media, by key and shape as each provider defines them. What merely looks like base64 is
// text, and so is all that a tool's schema, arguments or JSON result hold: the model reads those as they stand.
import { isJsonObject, type JsonObject } from './json.ts'

export type MediaKind = 'image' | 'document' | 'video' | 'audio'

export interface Media {
  kind: MediaKind
  /** e.g. `png`, `application/pdf`; empty where the request does not say. */
  format: string
  /** The media itself; undefined: it lies elsewhere (S3, a URL, a file id). */
  base64?: string
}

/** Media deeper than this counts as text. The deepest shape any API defines is a dozen levels down. */
const MAX_DEPTH = 32

const TEXT_KEYS = new Set(['tools', 'toolConfig', 'inputSchema', 'input_schema', 'parameters', 'json', 'metadata'])
const MEDIA_KINDS = new Map<string, MediaKind>([
  ['image', 'image'],
  ['document', 'document'],
  ['video', 'video'],
  ['audio', 'audio'],
])
/** Titan's, Nova's, Cohere's and Stability's keys of a bare image or a list; Nova Reel lists {format, source}. */
const IMAGE_KEYS = new Set([
  'inputImage',
  'images',
  'image',
  'conditionImage',
  'maskImage',
  'sourceImage',
  'init_image',
])
/** How base64 of a PNG, JPEG, GIF and WebP begins. */
const IMAGE_START = /^(?:iVBORw0KGgo|\/9j\/|R0lGOD|UklGR)/

/** Every media item of a body, walked level by level: no depth of nesting can overflow the stack. */
export function findMedia(body: JsonObject): Media[] {
  const found: Media[] = []
  let level: unknown[] = [body]
  for (let depth = 0; depth < MAX_DEPTH && level.length > 0; depth += 1) {
    const below: unknown[] = []
    for (const node of level) {
      if (Array.isArray(node)) for (const item of node) pushContainer(below, item)
      else if (isJsonObject(node)) visitObject(node, found, below)
    }
    level = below
  }
  return found
}

function pushContainer(below: unknown[], value: unknown): void {
  if (typeof value === 'object' && value !== null) below.push(value)
}

function visitObject(node: JsonObject, found: Media[], below: unknown[]): void {
  const typed = typeof node.type === 'string' ? typedMedia(node, node.type) : undefined
  if (typed !== undefined) {
    found.push(typed)
    return
  }
  const isToolCall = node.type === 'tool_use' || node.toolUseId !== undefined
  for (const key of Object.keys(node)) {
    const value = node[key]
    if (TEXT_KEYS.has(key) || (isToolCall && key === 'input')) continue
    const block = isJsonObject(value) ? keyedMedia(key, value) : undefined
    const media = block !== undefined ? [block] : IMAGE_KEYS.has(key) ? bareImages(value) : []
    if (media.length === 0) pushContainer(below, value)
    else for (const item of media) found.push(item)
  }
}

/** Converse and Nova: {image|document|video|audio: {format, source: {bytes | s3Location}}}. */
function keyedMedia(key: string, block: JsonObject): Media | undefined {
  const kind = MEDIA_KINDS.get(key)
  if (kind === undefined || !isJsonObject(block.source)) return undefined
  const { bytes, s3Location } = block.source
  const format = typeof block.format === 'string' ? block.format : ''
  if (typeof bytes === 'string') return { kind, format, base64: bytes }
  return s3Location === undefined ? undefined : { kind, format }
}

/** Anthropic's and OpenAI's blocks, told by their `type`. */
function typedMedia(node: JsonObject, type: string): Media | undefined {
  switch (type) {
    case 'image':
    case 'document':
      return isJsonObject(node.source) ? anthropicMedia(type, node.source) : undefined
    case 'image_url':
      return linked('image', isJsonObject(node.image_url) ? node.image_url.url : node.image_url)
    case 'input_image':
      return linked('image', node.image_url ?? node.file_id)
    case 'input_file':
      return linked('document', node.file_data ?? node.file_url ?? node.file_id, node.file_data !== undefined)
    case 'file':
      return isJsonObject(node.file)
        ? linked('document', node.file.file_data ?? node.file.file_id, node.file.file_data !== undefined)
        : undefined
    case 'input_audio':
      return isJsonObject(node.input_audio) ? linked('audio', node.input_audio.data, true) : undefined
    default:
      return undefined
  }
}

/** A `text` source is text, a `content` source holds blocks of its own: neither is media here. */
function anthropicMedia(kind: MediaKind, source: JsonObject): Media | undefined {
  const format = typeof source.media_type === 'string' ? source.media_type : ''
  if (source.type === 'base64' && typeof source.data === 'string') return { kind, format, base64: source.data }
  return source.type === 'url' || source.type === 'file' ? { kind, format } : undefined
}

/** A data URL, or base64 itself where `bare` says so; any other string names media elsewhere. */
function linked(kind: MediaKind, value: unknown, bare = false): Media | undefined {
  if (typeof value !== 'string') return undefined
  const comma = value.startsWith('data:') ? value.slice(0, 256).indexOf(';base64,') : -1
  if (comma >= 0)
    return { kind, format: value.slice('data:'.length, comma), base64: value.slice(comma + ';base64,'.length) }
  return bare ? { kind, format: '', base64: value } : { kind, format: '' }
}

function bareImages(value: unknown): Media[] {
  const images: Media[] = []
  for (const item of Array.isArray(value) ? value : [value]) {
    const block = isJsonObject(item) ? keyedMedia('image', item) : undefined
    if (block !== undefined) images.push(block)
    else if (typeof item !== 'string') return []
    else if (IMAGE_START.test(item)) images.push({ kind: 'image', format: '', base64: item })
    else if (item.startsWith('data:image/')) images.push(linked('image', item)!)
  }
  return images
}
