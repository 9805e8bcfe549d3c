// A metered call from admission to settlement: quota, prompt cache, fault, answer, charge.
import type { Usage } from '../domain/charge.ts'
import { TOO_MANY_REQUESTS, TOO_MANY_TOKENS } from '../wire/exceptions.ts'
import { drawAnswer } from './answer.ts'
import type { Call, Leave } from './call.ts'
import { deliverWhole, type Ended, StreamDelivery } from './delivery.ts'
import { alwaysTellsCache } from './formats/choose.ts'
import type { Completion } from './formats/format.ts'
import { type ModelCall, readModelCall } from './modelCall.ts'
import { Pace } from './pace.ts'
import type { QuotaState } from './quota.ts'
import { isRefusal, refusal } from './refusal.ts'
import { exceptionAnswer, headers, refuse } from './replies.ts'
import { DEFAULT_ANSWER_TOKENS, DEFAULT_MAX_OUTPUT_TOKENS } from './settings.ts'
import { streamSteps } from './streamSteps.ts'
import { wholeAnswer } from './wholeAnswer.ts'
import type { World } from './world.ts'

const NOTHING_LEFT: Leave = () => {}
const FREE: Usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 }
const THROTTLE_MESSAGE = { requests: TOO_MANY_REQUESTS, tokens: TOO_MANY_TOKENS }

export function invoke(world: World, call: Call): Leave {
  const nowMs = world.clock.nowMs()
  const { dialect } = call.operation
  const asked = readModelCall(call)
  if (isRefusal(asked)) {
    refuse(call, nowMs, dialect, asked)
    return NOTHING_LEFT
  }
  if (call.operation.name === 'StartAsyncInvoke') asked.format = world.asyncInvocations.format(call.region)
  const quota = world.quotas.find(call.region, asked.modelId)
  quota.counts.sends += 1
  if (call.fault.outage) {
    quota.counts.errors += 1
    if (call.fault.outage === 'cut') call.reply.cut()
    else refuse(call, nowMs, dialect, call.fault.outage)
    return NOTHING_LEFT
  }
  const capTokens = asked.capTokens ?? quota.quota?.maxOutputTokens ?? DEFAULT_MAX_OUTPUT_TOKENS
  const admission = quota.admit(nowMs, asked.prompt.inputTokens, asked.format.writesText ? capTokens : 0)
  if (admission.kind === 'throttled') {
    refuse(call, nowMs, dialect, refusal('ThrottlingException', THROTTLE_MESSAGE[admission.by]))
    return NOTHING_LEFT
  }
  if (call.fault.error) return fail(world, call, quota, admission.settle)
  const completion = newCompletion(world, call, asked, capTokens)
  return answer(world, call, asked, completion, (ending, producedTokens) => {
    if (ending === 'broken') quota.counts.broken += 1
    if (ending === 'left') quota.counts.left += 1
    admission.settle({ ...completion.usage, outputTokens: Math.min(producedTokens, completion.usage.outputTokens) })
  })
}

/** A failed call is charged no tokens; its request stays taken. */
function fail(world: World, call: Call, quota: QuotaState, settle: (usage: Usage) => void): Leave {
  const { clock, settings } = world
  const no = call.fault.error ?? refusal('InternalServerException', '')
  const whole = {
    waitMs: new Pace(settings.latency, call).firstMs(),
    answer: () => exceptionAnswer(call, clock.nowMs(), call.operation.dialect, no),
    producedTokens: () => 0,
  }
  return deliverWhole(clock, call.reply, whole, ending => {
    if (ending === 'left') quota.counts.left += 1
    else quota.counts.errors += 1
    settle(FREE)
  })
}

function newCompletion(world: World, call: Call, asked: ModelCall, capTokens: number): Completion {
  const { settings, clock, promptCache } = world
  const { body, modelId, format, prompt } = asked
  const mean = settings.answerTokens ?? DEFAULT_ANSWER_TOKENS
  const answer = format.writesText
    ? drawAnswer(call.answerDice, body, mean, capTokens)
    : { pieces: [], stop: 'end' as const }
  const split = promptCache.take(`${call.region} ${modelId}`, prompt, call.startedAtMs)
  const marksCache = prompt.cacheMarks.length > 0
  let firstByteMs: number | undefined
  return {
    modelId,
    body,
    answer,
    usage: { ...split, outputTokens: answer.pieces.length },
    marksCache,
    tellsCache: marksCache || alwaysTellsCache(format),
    requestId: call.requestId,
    startedAtMs: call.startedAtMs,
    names: call.names,
    dice: call.answerDice,
    latency: () => {
      const invocationMs = Math.max(0, Math.round(clock.nowMs() - call.startedAtMs))
      firstByteMs ??= invocationMs
      return { invocationMs, firstByteMs }
    },
  }
}

function answer(world: World, call: Call, asked: ModelCall, completion: Completion, ended: Ended): Leave {
  const { clock, settings } = world
  const pace = new Pace(settings.latency, call)
  const { carrier } = asked
  if (!carrier) return deliverWhole(clock, call.reply, wholeAnswer(clock, call, asked, completion, pace), ended)
  const steps = streamSteps(asked.format, carrier, completion, pace, call.fault.broken)
  return new StreamDelivery(clock, call.reply, steps, ended).start(pace.firstMs(), () => {
    completion.latency()
    call.reply.head(200, headers(call, clock.nowMs(), carrier.contentType, carrier.headers))
  })
}
