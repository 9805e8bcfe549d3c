// A query fit to send on: without what signed it. A presigned URL's signature covers the host the client saw, and may carry
// a session token; beside ours AWS would have two signatures to choose from.

const SIGNING = /^x-amz-/i

/** Path and query with every other parameter as it came, in its place. */
export function withoutSignature(rawUrl: string): string {
  const at = rawUrl.indexOf('?')
  if (at < 0) return rawUrl
  const pairs = rawUrl.slice(at + 1).split('&')
  const kept = pairs.filter(pair => !SIGNING.test(nameOf(pair)))
  if (kept.length === pairs.length) return rawUrl
  return kept.length === 0 ? rawUrl.slice(0, at) : `${rawUrl.slice(0, at)}?${kept.join('&')}`
}

/** An escape that is none stays: AWS would not read it as a name of its own either. */
function nameOf(pair: string): string {
  const end = pair.indexOf('=')
  const name = end < 0 ? pair : pair.slice(0, end)
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}
