// The trace that a request belongs to, as its client says (W3C Trace Context, https://www.w3.org/TR/trace-context/).

/** Version, trace, parent, flags; versions to come may say more. */
const TRACEPARENT = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})[\da-f]{16}-[\da-f]{2}(?:-.*)?$/
/** Of version 00, which says no more. */
const LENGTH = 55
/** A header longer than this is not looked at. */
const LONGEST = 512

/** The trace's id, 32 hex digits; undefined when the header is missing, is there twice or says nothing valid. */
export function traceIdOf(traceparent: string | string[] | undefined): string | undefined {
  if (typeof traceparent !== 'string' || traceparent.length > LONGEST) return undefined
  if (traceparent.startsWith('00') && traceparent.length !== LENGTH) return undefined
  return TRACEPARENT.exec(traceparent)?.[1]
}
