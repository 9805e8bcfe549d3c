// The operations beside the answers: guardrails, asynchronous invocations, inference profiles.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Driven, dig, drive, json } from './drive.ts'

function startAsync(driven: Driven, clientRequestToken: string): string {
  const outputDataConfig = { s3OutputDataConfig: { s3Uri: 's3://bucket' } }
  const body = {
    modelId: 'amazon.nova-reel-v1:0',
    modelInput: { text: 'a river' },
    outputDataConfig,
    clientRequestToken,
  }
  return String(dig(json(driven.send('/async-invoke', body)), 'invocationArn'))
}

function statusOf(driven: Driven, arn: string): unknown {
  return dig(json(driven.send(`/async-invoke/${encodeURIComponent(arn)}`)), 'status')
}

test('an asynchronous invocation runs, completes by the clock, and starts once for a client token', async () => {
  const driven = drive()
  const arn = startAsync(driven, 'one')
  assert.match(arn, /^arn:aws:bedrock:us-east-1:\d{12}:async-invoke\/[a-z0-9]{12}$/)
  assert.equal(startAsync(driven, 'one'), arn)
  assert.equal(statusOf(driven, arn), 'InProgress')
  await driven.clock.advance(60_000)
  assert.equal(statusOf(driven, arn), 'Completed')
  assert.equal(driven.send('/async-invoke/arn%3Anone').status, 404)
})

test('asynchronous invocations are listed newest first, by status and by page', async () => {
  const driven = drive()
  const first = startAsync(driven, 'one')
  await driven.clock.advance(60_000)
  const second = startAsync(driven, 'two')
  const list = (query: string) => {
    const page = json(driven.send(`/async-invoke?${query}`))
    return {
      arns: (dig(page, 'asyncInvokeSummaries') as unknown[]).map(one => dig(one, 'invocationArn')),
      next: dig(page, 'nextToken'),
    }
  }
  assert.deepEqual(list('').arns, [second, first])
  assert.deepEqual(list('statusEquals=Completed').arns, [first])
  assert.deepEqual(list('maxResults=1&sortOrder=Ascending'), { arns: [first], next: '1' })
  assert.deepEqual(list('maxResults=1&sortOrder=Ascending&nextToken=1'), { arns: [second], next: undefined })
})

test('starting an asynchronous invocation draws on the requests quota', () => {
  const driven = drive({ quotas: [{ modelIds: ['*'], requestsPerMinute: 1, outputBurndown: 1, maxOutputTokens: 100 }] })
  startAsync(driven, 'one')
  assert.equal(driven.send('/async-invoke', { modelId: 'amazon.nova-reel-v1:0', modelInput: {} }).status, 429)
})

test('kept asynchronous invocations are bounded', () => {
  const driven = drive()
  const first = startAsync(driven, 'first')
  for (let i = 0; i < 1000; i++) startAsync(driven, `${i}`)
  assert.equal(driven.send(`/async-invoke/${encodeURIComponent(first)}`).status, 404)
})

test('guardrails let everything through', async () => {
  const applied = json(
    await drive().ask('/guardrail/abc/version/1/apply', { source: 'INPUT', content: [{ text: { text: 'hello' } }] }),
  )
  assert.equal(dig(applied, 'action'), 'NONE')
  const checks = { contentFilter: { categories: [{ category: 'VIOLENCE' }] } }
  const checked = json(
    await drive().ask('/guardrail-checks/invoke', {
      messages: [{ role: 'user', content: [{ text: 'hello' }] }],
      checks,
    }),
  )
  assert.deepEqual(dig(checked, 'results', 'contentFilter', 'results'), [{ category: 'VIOLENCE', severityScore: 0 }])
})

test('inference profiles are listed, and any well-formed one is found', async () => {
  const list = dig(
    json(await drive().ask('/inference-profiles?type=SYSTEM_DEFINED')),
    'inferenceProfileSummaries',
  ) as unknown[]
  assert.ok(list.length > 0)
  const arn = 'arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc'
  assert.equal(
    dig(json(await drive().ask(`/inference-profiles/${encodeURIComponent(arn)}`)), 'inferenceProfileArn'),
    arn,
  )
  assert.equal((await drive().ask('/inference-profiles/nothing')).status, 404)
})
