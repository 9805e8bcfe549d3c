// The two control plane calls that reach runtime gateways in practice: Claude Code looks its models' profiles up.
import type { JsonObject } from './json.ts'
import { isModelId } from './modelCall.ts'
import { type Refusal, refusal } from './refusal.ts'

/** A few of the system's own, to be listed; any well-formed id can be got. */
const LISTED = [
  'us.anthropic.claude-sonnet-4-5-20250929-v1:0',
  'us.anthropic.claude-haiku-4-5-20251001-v1:0',
  'global.anthropic.claude-sonnet-4-5-20250929-v1:0',
  'us.amazon.nova-lite-v1:0',
  'us.meta.llama3-3-70b-instruct-v1:0',
]
const ACCOUNT = '123456789012'
const CREATED = '2025-10-01T00:00:00Z'

export function listInferenceProfiles(region: string, query: URLSearchParams): JsonObject {
  const type = query.get('type')
  const listed = type === null || type === 'SYSTEM_DEFINED' ? LISTED : []
  return { inferenceProfileSummaries: listed.map(id => profile(region, id)) }
}

/** By id or ARN. */
export function getInferenceProfile(region: string, id: string): JsonObject | Refusal {
  if (isModelId(id)) return profile(region, id)
  return refusal('ResourceNotFoundException', 'The specified inference profile was not found.')
}

function profile(region: string, idOrArn: string): JsonObject {
  const id = idOrArn.slice(idOrArn.lastIndexOf('/') + 1)
  const application = idOrArn.includes(':application-inference-profile/')
  const arn = `arn:aws:bedrock:${region}:${ACCOUNT}:inference-profile/${id}`
  const model = application ? 'anthropic.claude-sonnet-4-5-20250929-v1:0' : id.replace(/^[a-z]{2,6}\.(?=[\w-]+\.)/, '')
  return {
    createdAt: CREATED,
    description: `Routes requests to ${model}.`,
    inferenceProfileArn: idOrArn.startsWith('arn:') ? idOrArn : arn,
    inferenceProfileId: id,
    inferenceProfileName: id,
    models: [{ modelArn: `arn:aws:bedrock:${region}::foundation-model/${model}` }],
    status: 'ACTIVE',
    type: application ? 'APPLICATION' : 'SYSTEM_DEFINED',
    updatedAt: CREATED,
  }
}
