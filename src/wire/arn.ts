// The Region that an ARN in a request's path names.

/** A segment of the path, its colons escaped or not. Begins at a slash alone, so that no URL makes it slow. */
const BEDROCK_ARN = /\/arn(?::|%3A)aws[\w-]*(?::|%3A)bedrock(?::|%3A)([a-z0-9-]+)/i

/** `rawUrl` as it came. undefined: it names none. */
export function regionInPath(rawUrl: string): string | undefined {
  const query = rawUrl.indexOf('?')
  return BEDROCK_ARN.exec(query < 0 ? rawUrl : rawUrl.slice(0, query))?.[1]
}
