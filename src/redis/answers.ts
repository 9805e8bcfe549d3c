// Answers kept in Redis, for all replicas. Whatever goes wrong there is a miss: an answer that cannot be kept or read was none.
//
// A value is text: a checksum, the status and headers as a line of JSON, the body as Latin-1. So any bytes come back as they
// were, and what is ASCII (JSON, nearly all of an event stream) takes no more room than it had.
import { readFileSync } from 'node:fs'
import { crc32 } from 'node:zlib'
import type { AnswerStore, KeptAnswer } from '../gateway/answerPorts.ts'
import type { WholeReply } from '../gateway/ports.ts'
import type { RedisLink } from './connection.ts'
import { answerIndexKeys, answerKey } from './keys.ts'
import { defineScript } from './script.ts'

export interface SharedAnswerBounds {
  maxAgeMs: number
  /** Bytes of one model's answers in Redis, keys and headers included. */
  maxBytes: number
}

const KEEP = script('keepAnswer')
const READ = script('keptAnswer')
/** What Redis itself takes for a key and its places in index and sizes, roughly. */
const ENTRY_BYTES = 512
const CHECKSUM_CHARS = 8

export class RedisAnswers implements AnswerStore {
  readonly #link: RedisLink
  readonly #bounds: SharedAnswerBounds

  constructor(link: RedisLink, bounds: SharedAnswerBounds) {
    this.#link = link
    this.#bounds = bounds
  }

  async get(model: string, key: string): Promise<KeptAnswer | undefined> {
    const { index } = answerIndexKeys(model)
    try {
      const found = await this.#link.run(READ, [index, answerKey(model, key)], [this.#bounds.maxAgeMs])
      if (!Array.isArray(found)) return undefined
      const [ageMs, value] = found
      const reply = typeof value === 'string' ? unpack(value) : undefined
      return reply && typeof ageMs === 'number' ? { reply, ageMs } : undefined
    } catch {
      return undefined
    }
  }

  async put(model: string, key: string, reply: WholeReply): Promise<void> {
    const { index, sizes } = answerIndexKeys(model)
    const value = pack(reply)
    const bytes = Buffer.byteLength(value) + ENTRY_BYTES
    const { maxAgeMs, maxBytes } = this.#bounds
    if (bytes > maxBytes) return
    const args = [value, bytes, maxAgeMs, maxBytes]
    await this.#link.run(KEEP, [index, sizes, answerKey(model, key)], args).catch(() => {})
  }
}

function script(name: string) {
  return defineScript(name, readFileSync(new URL(`scripts/${name}.lua`, import.meta.url), 'utf8'))
}

function pack({ status, headers, body }: WholeReply): string {
  const text = `${JSON.stringify([status, headers])}\n${body.toString('latin1')}`
  return checksum(text) + text
}

/** Undefined for what was damaged, or is not ours. */
function unpack(value: string): WholeReply | undefined {
  const text = value.slice(CHECKSUM_CHARS)
  const end = text.indexOf('\n')
  if (end < 0 || checksum(text) !== value.slice(0, CHECKSUM_CHARS)) return undefined
  const head: unknown = JSON.parse(text.slice(0, end))
  if (!isHead(head)) return undefined
  const [status, headers] = head
  return { status, headers, body: Buffer.from(text.slice(end + 1), 'latin1') }
}

function checksum(text: string): string {
  return crc32(text).toString(16).padStart(CHECKSUM_CHARS, '0')
}

function isHead(head: unknown): head is [number, string[]] {
  if (!Array.isArray(head) || head.length !== 2) return false
  const [status, headers] = head
  return typeof status === 'number' && Array.isArray(headers) && headers.every(part => typeof part === 'string')
}
