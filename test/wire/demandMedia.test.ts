// Media inside request bodies: counted by pixels and pages, never as base64 text; and text that only looks like media.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Demand, readDemand } from '../../src/wire/demand.ts'
import { UNKNOWN_DOCUMENT_TOKENS, UNKNOWN_IMAGE_TOKENS, UNKNOWN_VIDEO_TOKENS } from '../../src/wire/media.ts'
import { jpeg, png } from './images.ts'
import { operationOf } from './readResponse.ts'

const INVOKE = '/model/m/invoke'
const CONVERSE = '/model/m/converse'
const CHAT = '/openai/v1/chat/completions'
const RESPONSES = '/openai/v1/responses'

/** 361 tokens. */
const IMAGE = png(512, 512, 30_000)
const PDF = Buffer.from(`%PDF-1.7${'x'.repeat(60_000)}`).toString('base64')
const CSV = Buffer.from('a,b\n'.repeat(1_000)).toString('base64')

function demandOf(path: string, body: unknown): Demand {
  const result = readDemand(operationOf(path), Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)))
  if (result.kind !== 'ok') throw new Error(result.message)
  return result.demand
}

function message(...content: unknown[]): { model: string; messages: unknown[] } {
  return { model: 'm', messages: [{ role: 'user', content }] }
}

const block = (format: string, bytes: string) => ({ format, name: 'n', source: { bytes } })
const anthropic = (type: string, media_type: string, data: string) => ({
  type,
  source: { type: 'base64', media_type, data },
})
const toolResult = (content: unknown) => ({ type: 'tool_result', tool_use_id: 't', content: [content] })

const IMAGES: [string, string, unknown][] = [
  ['Converse', CONVERSE, message({ image: block('png', IMAGE) })],
  [
    'Converse in a tool result',
    CONVERSE,
    message({ toolResult: { toolUseId: 't', content: [{ image: block('png', IMAGE) }] } }),
  ],
  ['Converse in the system prompt', CONVERSE, { system: [{ image: block('png', IMAGE) }] }],
  ['Nova', INVOKE, message({ image: block('png', IMAGE) })],
  ['Nova Reel', '/async-invoke', { modelId: 'm', modelInput: { images: [block('png', IMAGE)] } }],
  ['Anthropic', INVOKE, message(anthropic('image', 'image/png', IMAGE))],
  ['Anthropic in a tool result', '/anthropic/v1/messages', message(toolResult(anthropic('image', 'image/png', IMAGE)))],
  [
    'Anthropic in a document of blocks',
    INVOKE,
    message({ type: 'document', source: { type: 'content', content: [anthropic('image', 'image/png', IMAGE)] } }),
  ],
  ['chat completions', CHAT, message({ type: 'image_url', image_url: { url: `data:image/png;base64,${IMAGE}` } })],
  [
    'Responses',
    RESPONSES,
    { model: 'm', input: [{ content: [{ type: 'input_image', image_url: `data:image/png;base64,${IMAGE}` }] }] },
  ],
  ['Titan embeddings', INVOKE, { inputImage: IMAGE }],
  ['Titan image generation', INVOKE, { inPaintingParams: { image: IMAGE } }],
  ['Nova Canvas, Llama', INVOKE, { images: [IMAGE] }],
  ['Cohere embeddings', INVOKE, { images: [`data:image/png;base64,${IMAGE}`] }],
]

for (const [provider, path, body] of IMAGES)
  test(`an image of ${provider} counts by its pixels, not as text`, () => {
    const demand = demandOf(path, body)
    assert.equal(demand.mediaTokens, 361)
    assert.equal(demand.textBytes, JSON.stringify(body).length - IMAGE.length)
  })

test('many images are all counted', () => {
  const body = { messages: [message({ image: block('png', IMAGE) }, { image: block('jpeg', jpeg(256, 256)) }), IMAGE] }
  assert.equal(demandOf(CONVERSE, body).mediaTokens, 461)
})

test('images made to be slow are given up together: after 16,384 steps a JPEG costs the flat default', () => {
  const slow = `/9j${'/'.repeat(357)}`
  const tokens = (slowImages: number) => {
    const images = [...Array(slowImages).fill(slow), jpeg(280, 280)]
    return demandOf(INVOKE, { images }).mediaTokens - slowImages * UNKNOWN_IMAGE_TOKENS
  }
  assert.equal(tokens(60), 100)
  assert.equal(tokens(64), UNKNOWN_IMAGE_TOKENS)
  assert.equal(tokens(60_000), UNKNOWN_IMAGE_TOKENS)
})

test('base64 where an API expects text is text', () => {
  const bodies: unknown[] = [
    message({ text: IMAGE }),
    message({ type: 'text', text: `data:image/png;base64,${IMAGE}` }),
    message({ toolUse: { toolUseId: 't', input: { image: block('png', IMAGE) } } }),
    message({ type: 'tool_use', id: 't', input: anthropic('image', 'image/png', IMAGE) }),
    message({ toolResult: { content: [{ json: { image: block('png', IMAGE) } }] } }),
    message({ type: 'document', source: { type: 'text', media_type: 'text/plain', data: IMAGE } }),
    { tools: [{ name: 't', input_schema: { image: block('png', IMAGE) } }] },
    { prompt: IMAGE, images: ['no image', 'A'.repeat(1_000)] },
    { constructor: block('png', IMAGE), toString: block('png', IMAGE) },
  ]
  for (const body of bodies) {
    const text = JSON.stringify(body)
    assert.deepEqual(demandOf(INVOKE, text), {
      textBytes: text.length,
      mediaTokens: 0,
      answers: 1,
    })
  }
})

test('a PDF counts by pages and no other document does', () => {
  const file = { type: 'input_file', file_data: `data:application/pdf;base64,${PDF}` }
  const pdfs: [string, unknown][] = [
    [CONVERSE, message({ document: block('pdf', PDF) })],
    [INVOKE, message(anthropic('document', 'application/pdf', PDF))],
    [RESPONSES, { model: 'm', input: [{ content: [file] }] }],
    [CHAT, message({ type: 'file', file: { filename: 'a.pdf', file_data: PDF } })],
  ]
  for (const [path, body] of pdfs) {
    const demand = demandOf(path, body)
    assert.equal(demand.mediaTokens, 6_000, path)
    assert.equal(demand.textBytes, JSON.stringify(body).length - PDF.length)
  }
  const csv = message({ document: block('csv', CSV) })
  assert.equal(demandOf(CONVERSE, csv).mediaTokens, 0)
  assert.equal(demandOf(CONVERSE, csv).textBytes, JSON.stringify(csv).length - CSV.length + 4_000)
})

test('video and sound count by their bytes', () => {
  const bytes = Buffer.alloc(500_000).toString('base64')
  assert.equal(demandOf(CONVERSE, message({ video: block('mp4', bytes) })).mediaTokens, 576)
  const sound = { type: 'input_audio', input_audio: { data: bytes, format: 'mp3' } }
  assert.equal(demandOf(CHAT, message(sound)).mediaTokens, 1_250)
  assert.ok(demandOf(CHAT, message(sound)).textBytes < 200)
})

test('media that lies elsewhere costs a flat default', () => {
  const s3 = { format: 'x', source: { s3Location: { uri: 's3://b/k' } } }
  const elsewhere: [string, unknown, number][] = [
    [CONVERSE, { image: s3 }, UNKNOWN_IMAGE_TOKENS],
    [CONVERSE, { document: s3 }, UNKNOWN_DOCUMENT_TOKENS],
    [CONVERSE, { video: s3 }, UNKNOWN_VIDEO_TOKENS],
    [INVOKE, { type: 'image', source: { type: 'url', url: 'https://e/x.png' } }, UNKNOWN_IMAGE_TOKENS],
    [INVOKE, { type: 'document', source: { type: 'file', file_id: 'f' } }, UNKNOWN_DOCUMENT_TOKENS],
    [CHAT, { type: 'image_url', image_url: { url: 'https://e/x.png' } }, UNKNOWN_IMAGE_TOKENS],
    [RESPONSES, { type: 'input_image', file_id: 'f' }, UNKNOWN_IMAGE_TOKENS],
    [RESPONSES, { type: 'input_file', file_url: 'https://e/x.pdf' }, UNKNOWN_DOCUMENT_TOKENS],
  ]
  for (const [path, content, tokens] of elsewhere)
    assert.equal(demandOf(path, message(content)).mediaTokens, tokens, JSON.stringify(content))
})

test('text in any script counts by its UTF-8 bytes', () => {
  const body = message({ text: 'Grüße 👋 模型' }, { image: block('png', IMAGE) })
  assert.equal(demandOf(CONVERSE, body).textBytes, Buffer.byteLength(JSON.stringify(body)) - IMAGE.length)
})

test('100,000 levels of nesting are read without overflow', () => {
  const depth = 100_000
  const arrays = `{"max_tokens":7,"messages":${'['.repeat(depth)}${']'.repeat(depth)}}`
  const objects = `${'{"content":'.repeat(depth)}1${'}'.repeat(depth)}`
  assert.equal(demandOf(INVOKE, arrays).outputCap, 7)
  assert.equal(demandOf(INVOKE, objects).textBytes, objects.length)
})

test('an image too deep for any API counts as text', () => {
  const body = `${'['.repeat(40)}${JSON.stringify({ image: block('png', IMAGE) })}${']'.repeat(40)}`
  assert.equal(demandOf(CONVERSE, `{"messages":${body}}`).mediaTokens, 0)
})

test('a body of 25 MB that is one image is priced by its pixels', () => {
  const large = png(1024, 768, 18_700_000)
  const body = Buffer.from(JSON.stringify(message({ image: block('png', large) }, { text: 'What is this?' })))
  assert.ok(body.length > 24_900_000)
  const result = readDemand(operationOf(CONVERSE), body)
  assert.ok(result.kind === 'ok' && result.demand.mediaTokens === 1_036 && result.demand.textBytes < 200)
})
