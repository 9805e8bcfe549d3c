// When the upstream says to come back: the first of `retry-after` (seconds or an HTTP date, RFC 9110), `x-amz-retry-after`
// and `retry-after-ms` (both milliseconds), as the AWS, Anthropic and OpenAI SDKs read them.

/** `Date.parse` takes almost anything for a date. */
const HTTP_DATE = /^\w{3}, \d{2} \w{3} \d{4} [\d:]{8} GMT$/

/** In ms from now, at least 0; undefined when the headers (flat) hold no hint that can be read. */
export function retryHintMs(headers: string[], nowMs: number): number | undefined {
  const seconds = firstValue(headers, 'retry-after')
  if (seconds !== undefined) {
    if (/^\d+(\.\d+)?$/.test(seconds)) return Number(seconds) * 1000
    const atMs = HTTP_DATE.test(seconds) ? Date.parse(seconds) : Number.NaN
    if (!Number.isNaN(atMs)) return Math.max(0, atMs - nowMs)
  }
  const ms = firstValue(headers, 'x-amz-retry-after') ?? firstValue(headers, 'retry-after-ms')
  return ms !== undefined && /^\d+(\.\d+)?$/.test(ms) ? Number(ms) : undefined
}

function firstValue(headers: string[], lowerCaseName: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2)
    if (headers[i]!.toLowerCase() === lowerCaseName) return headers[i + 1]!.trim()
  return undefined
}
