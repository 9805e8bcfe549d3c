// What the README and docs/clients.md tell a stranger to run: each program copied out, saved and started, against `config/local.yaml`.
import assert from 'node:assert/strict'
import { execFile, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { startTestSluice, type TestSluice } from '../support/sluice.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
const README = readFileSync(join(ROOT, 'README.md'), 'utf8')
const CLIENTS = readFileSync(join(ROOT, 'docs/clients.md'), 'utf8')
const SHOWN_URL = 'http://127.0.0.1:8080'
const SECTION = '## Point your client at it\n'
const EXIT_WITHIN_MS = 30_000

interface Snippet {
  title: string
  language: string
  code: string
}

/** Fenced code with the heading before it. */
function snippets(markdown: string): Snippet[] {
  let title = ''
  const found: Snippet[] = []
  for (const match of markdown.matchAll(/^#+ (.+)$|^```(\w+)\n([\s\S]*?)^```$/gm)) {
    if (match[1] !== undefined) title = match[1]
    else found.push({ title, language: match[2]!, code: match[3]! })
  }
  return found
}

const section = README.slice(README.indexOf(SECTION) + SECTION.length).split(/^## /m, 1)[0]!
const programs = snippets(CLIENTS).filter(one => one.language === 'js')
const curls = snippets(SECTION + section).filter(one => one.language === 'sh' && one.code.startsWith('curl '))
const curlMissing = spawnSync('curl', ['--version']).error ? 'curl is not installed here' : false

let sluice: TestSluice
let folder: string

before(async () => {
  sluice = await startTestSluice(readFileSync(join(ROOT, 'config/local.yaml'), 'utf8'))
  // Inside the repository, so that packages resolve as they do for a reader who follows the text.
  folder = mkdtempSync(join(ROOT, '.readme-'))
})
after(async () => {
  rmSync(folder, { recursive: true, force: true })
  await sluice.stop(0)
})

/** Standard output of a program that must exit with 0. It sees no AWS settings of whoever runs the tests. */
function output(file: string, args: string[]): Promise<string> {
  const options = { cwd: folder, timeout: EXIT_WITHIN_MS, env: { PATH: process.env.PATH, HOME: folder } }
  return new Promise((resolve, reject) => {
    execFile(file, args, options, (error, stdout, stderr) => {
      if (error) reject(new Error(`${error.message}\n${stderr}`))
      else resolve(stdout)
    })
  })
}

/** The simulator answers in sentences; a count is a number. */
function assertAnswered(snippet: Snippet, stdout: string): void {
  if (snippet.title.endsWith('CountTokens')) assert.match(stdout.trim(), /^\d+$/)
  else assert.match(stdout, /[A-Z][a-z]*( [a-z]+){2}/)
}

describe('the documented clients', { concurrency: 4 }, () => {
  programs.forEach((snippet, i) => {
    test(`${snippet.title}: the program in docs/clients.md gets an answer`, async () => {
      assert.ok(snippet.code.includes(SHOWN_URL), `it calls ${SHOWN_URL}`)
      const file = join(folder, `${i}.mjs`)
      writeFileSync(file, snippet.code.replaceAll(SHOWN_URL, sluice.url))
      assertAnswered(snippet, await output(process.execPath, [file]))
    })
  })

  for (const snippet of curls) {
    test(`${snippet.title}: the command in the README gets an answer`, { skip: curlMissing }, async () => {
      assert.ok(snippet.code.includes(SHOWN_URL), `it calls ${SHOWN_URL}`)
      assertAnswered(snippet, await output('sh', ['-c', snippet.code.replaceAll(SHOWN_URL, sluice.url)]))
    })
  }
})

test('no JavaScript of the README goes untried, and each kind of client is there', () => {
  assert.deepEqual(
    snippets(README).filter(one => one.language === 'js'),
    [],
  )
  assert.equal(curls.length, 1)
  const code = programs.map(one => one.code).join('\n')
  const packages = ['@anthropic-ai/bedrock-sdk', '@ai-sdk/amazon-bedrock', 'openai', '@langchain/aws']
  for (const name of packages) assert.ok(code.includes(`from '${name}'`), name)
  for (const name of ['Converse', 'ConverseStream', 'InvokeModel', 'InvokeModelWithResponseStream', 'CountTokens']) {
    assert.ok(code.includes(`new ${name}Command(`), name)
  }
})
