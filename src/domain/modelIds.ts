// Globs over decoded modelIds: `*` stands for any run of characters, everything else for itself.

/**
 * A test for `glob`, anchored at both ends and case-sensitive, as modelIds are. Each literal is taken where it comes first,
 * so the time is linear in the id: a client's id cannot make it backtrack.
 */
export function globMatcher(glob: string): (modelId: string) => boolean {
  const [head = '', ...rest] = glob.split('*')
  const tail = rest.pop()
  if (tail === undefined) return modelId => modelId === glob
  return modelId => {
    if (modelId.length < head.length + tail.length || !modelId.startsWith(head) || !modelId.endsWith(tail)) return false
    const end = modelId.length - tail.length
    let at = head.length
    for (const literal of rest) {
      const found = modelId.indexOf(literal, at)
      if (found < 0) return false
      at = found + literal.length
    }
    return at <= end
  }
}
