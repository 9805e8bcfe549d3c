// Globs over decoded modelIds: `*` stands for any run of characters, everything else for itself.

/** A test for `glob`, anchored at both ends and case-sensitive, as modelIds are. */
export function globMatcher(glob: string): (modelId: string) => boolean {
  const pattern = glob
    .split('*')
    .map(literal => literal.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
    .join('.*?')
  const regExp = new RegExp(`^${pattern}$`, 's')
  return modelId => regExp.test(modelId)
}
