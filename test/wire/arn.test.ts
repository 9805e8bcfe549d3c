// Which Region an ARN in a path names, however it is spelt, and however long what looks like one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { regionInPath } from '../../src/wire/arn.ts'

const ARN = 'arn:aws:bedrock:eu-west-1:123456789012:guardrail/abc123'

test('the Region of an ARN in the path is found, escaped or bare, in every partition', () => {
  assert.equal(regionInPath(`/guardrail/${encodeURIComponent(ARN)}/version/1/apply`), 'eu-west-1')
  assert.equal(regionInPath(`/guardrail/${ARN.replace('/', '%2F')}/version/1/apply`), 'eu-west-1')
  assert.equal(regionInPath('/async-invoke/arn:aws-cn:bedrock:cn-north-1:1:async-invoke%2Fx'), 'cn-north-1')
  assert.equal(regionInPath('/inference-profiles/arn%3aaws-us-gov%3abedrock%3aus-gov-west-1%3a1'), 'us-gov-west-1')
})

test('a name, an ARN of another service, and one in the query name none', () => {
  for (const url of ['/guardrail/abc/version/1/apply', '/async-invoke/arn:aws:s3:::b', `/async-invoke?a=/${ARN}`])
    assert.equal(regionInPath(url), undefined, url)
})

test('what only begins like an ARN, again and again, is looked at once: else this would take minutes', {
  timeout: 20_000,
}, () => {
  assert.equal(regionInPath(`/async-invoke/${'arn:aws'.repeat(300_000)}`), undefined)
})
