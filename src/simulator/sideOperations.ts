// The operations that draw on no quota: token counts, guardrails, and looking things up.
import type { Call, Leave } from './call.ts'
import { deliverWhole } from './delivery.ts'
import { getInferenceProfile, listInferenceProfiles } from './inferenceProfiles.ts'
import { isObject, type JsonObject, listAt, objectAt, parseJson, sortedJson, textAt } from './json.ts'
import { isModelId, readBody } from './modelCall.ts'
import { readPrompt } from './prompt.ts'
import { isRefusal, MALFORMED, type Refusal, UNKNOWN_MODEL } from './refusal.ts'
import { exceptionAnswer, headers, refuse } from './replies.ts'
import type { World } from './world.ts'

/** Guardrails are counted in units of so many characters. */
const TEXT_UNIT_CHARACTERS = 1000

export function answerSide(world: World, call: Call): Leave {
  const { clock } = world
  const { fault, operation } = call
  if (fault.outage === 'cut') call.reply.cut()
  else if (fault.outage) refuse(call, clock.nowMs(), operation.dialect, fault.outage)
  if (fault.outage) return () => {}
  const whole = {
    waitMs: fault.slowMs,
    producedTokens: () => 0,
    answer: () => {
      const json = fault.error ?? content(world, call)
      if (isRefusal(json)) return exceptionAnswer(call, clock.nowMs(), operation.dialect, json)
      const body = Buffer.from(sortedJson(json))
      const cut = fault.broken?.how === 'cut'
      return { status: 200, headers: headers(call, clock.nowMs(), 'application/json'), body, cut }
    },
  }
  return deliverWhole(clock, call.reply, whole, () => {})
}

function content(world: World, call: Call): JsonObject | Refusal {
  const { operation, region, request } = call
  const id = call.id ?? ''
  const query = new URLSearchParams(request.rawUrl.split('?', 2)[1] ?? '')
  if (operation.name === 'GetAsyncInvoke') return world.asyncInvocations.get(id)
  if (operation.name === 'ListAsyncInvokes') return world.asyncInvocations.list(query)
  if (operation.name === 'ListInferenceProfiles') return listInferenceProfiles(region, query)
  if (operation.name === 'GetInferenceProfile') return getInferenceProfile(region, id)
  if (operation.name === 'CountTokens' && !isModelId(id)) return UNKNOWN_MODEL
  const body = readBody(call)
  if (isRefusal(body)) return body
  if (operation.name === 'CountTokens') return countTokens(body)
  return operation.name === 'ApplyGuardrail' ? applyGuardrail(body) : guardrailChecks(body)
}

/** Counts as a call with that body would be charged. */
function countTokens(body: JsonObject): JsonObject | Refusal {
  const converse = objectAt(body, 'input', 'converse')
  if (converse) return { inputTokens: readPrompt(converse).inputTokens }
  const invoked = textAt(body, 'input', 'invokeModel', 'body')
  const parsed = invoked === undefined ? undefined : parseJson(Buffer.from(invoked, 'base64'))
  if (!parsed || !isObject(parsed.value)) return MALFORMED
  return { inputTokens: readPrompt(parsed.value).inputTokens }
}

/** This guardrail lets everything through. */
function applyGuardrail(body: JsonObject): JsonObject {
  const texts = listAt(body, 'content').map(block => textAt(block, 'text', 'text') ?? '')
  return {
    action: 'NONE',
    assessments: [{}],
    outputs: [],
    usage: {
      contentPolicyUnits: textUnits(texts),
      contextualGroundingPolicyUnits: 0,
      sensitiveInformationPolicyFreeUnits: 0,
      sensitiveInformationPolicyUnits: 0,
      topicPolicyUnits: 0,
      wordPolicyUnits: 0,
    },
  }
}

/** Every check asked for finds nothing. */
function guardrailChecks(body: JsonObject): JsonObject {
  const checks = objectAt(body, 'checks') ?? {}
  const blocks = listAt(body, 'messages').flatMap(message => listAt(message, 'content'))
  const units = { textUnits: textUnits(blocks.map(block => textAt(block, 'text') ?? '')) }
  const results: JsonObject = {}
  const usage: JsonObject = {}
  for (const check of ['contentFilter', 'promptAttack', 'sensitiveInformation']) {
    if (!Object.hasOwn(checks, check)) continue
    const categories = listAt(checks, check, 'categories').filter(isObject)
    results[check] = { results: categories.map(({ category }) => ({ category: category ?? null, severityScore: 0 })) }
    usage[check] = units
  }
  return { results, usage }
}

function textUnits(texts: string[]): number {
  const characters = texts.reduce((sum, text) => sum + text.length, 0)
  return Math.max(1, Math.ceil(characters / TEXT_UNIT_CHARACTERS))
}
