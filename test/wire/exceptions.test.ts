// Bedrock's errors as clients will parse them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EXCEPTION_STATUS, errorTypeHeader, exceptionBody, exceptionName } from '../../src/wire/exceptions.ts'
import { loadRecordings, RECORDINGS_MISSING } from './recordings.ts'

test('every exception name survives the header it travels in', () => {
  for (const name of Object.keys(EXCEPTION_STATUS)) assert.equal(exceptionName(errorTypeHeader(name)), name)
})

test('a name is found in every form the AWS SDKs accept', () => {
  for (const header of [
    'ThrottlingException',
    'ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/',
    'ThrottlingException,http://x',
    'com.amazon.bedrock#ThrottlingException',
    'com.amazon.bedrock#ThrottlingException:http://x#y',
    ' ThrottlingException ',
  ])
    assert.equal(exceptionName(header), 'ThrottlingException', header)
  assert.equal(exceptionName(''), '')
})

test('recorded errors have the header, the status and the body that ours have', { skip: RECORDINGS_MISSING }, () => {
  const errors = loadRecordings().filter(recording => recording.status !== 200)
  assert.equal(errors.length, 2)
  for (const { header, status, body, title } of errors) {
    assert.equal(header('x-amzn-errortype'), errorTypeHeader('ValidationException'), title)
    assert.equal(status, EXCEPTION_STATUS.ValidationException)
    const ours = exceptionBody('bedrock', 400, 'ValidationException', 'The provided model identifier is invalid.')
    assert.deepEqual(JSON.parse(body.toString()), JSON.parse(ours))
  }
})

test('throttles are 429 and a spent quota is 400, which no SDK retries', () => {
  assert.equal(EXCEPTION_STATUS.ThrottlingException, 429)
  assert.equal(EXCEPTION_STATUS.ModelNotReadyException, 429)
  assert.equal(EXCEPTION_STATUS.ServiceQuotaExceededException, 400)
})

test('a throttle for an AWS SDK is the 63 bytes that Bedrock sends', () => {
  const body = exceptionBody('bedrock', 429, 'ThrottlingException', 'Too many tokens, please wait before trying again.')
  assert.equal(body, '{"message":"Too many tokens, please wait before trying again."}')
  assert.equal(body.length, 63)
})

test("OpenAI's and Anthropic's clients find the message where they look, and AWS's where they do", () => {
  for (const dialect of ['openai', 'anthropic'] as const) {
    const body = JSON.parse(exceptionBody(dialect, 429, 'ThrottlingException', 'wait'))
    assert.deepEqual(body, {
      type: 'error',
      message: 'wait',
      error: { type: 'rate_limit_error', code: 'ThrottlingException', message: 'wait' },
    })
  }
  assert.equal(JSON.parse(exceptionBody('anthropic', 503, 'x', 'm')).error.type, 'api_error')
})

test('a message with quotes and line ends stays one JSON string', () => {
  const message = 'a "quoted"\nline </script>'
  assert.equal(JSON.parse(exceptionBody('bedrock', 400, 'x', message)).message, message)
})
