// What the configs that come with Sluice fall back to: a placeholder is for development.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { parseConfig } from '../../src/config/load.ts'
import { idToAskBy } from '../../src/domain/model.ts'

function modelsOf(file: string) {
  const loaded = parseConfig(readFileSync(new URL(`../../config/${file}`, import.meta.url), 'utf8'), file)
  assert.ok(loaded.kind === 'ok')
  return loaded.config.models
}

test('every model of the local config that writes text ends with the placeholder, and no other does', () => {
  for (const { name, fallback, maxOutputTokens } of modelsOf('local.yaml'))
    assert.equal(fallback.at(-1) === 'mock', maxOutputTokens > 0, name)
})

for (const file of ['aws.yaml', 'redis.yaml']) {
  test(`${file} has no placeholder`, () => {
    for (const { name, fallback } of modelsOf(file)) assert.ok(!fallback.includes('mock'), name)
  })
}

test('a model is asked by its first id that is no pattern, else by what its pools all know it by', () => {
  const pool = (modelId?: string) => ({ name: 'p', region: 'r', modelId })
  assert.equal(idToAskBy({ modelIds: ['a.b', '*c*'], pools: [pool('x')] }), 'a.b')
  assert.equal(idToAskBy({ modelIds: ['*c*', 'a.b'], pools: [pool('x'), pool('y')] }), 'x')
  assert.equal(idToAskBy({ modelIds: ['*c*'], pools: [pool('x'), pool()] }), undefined)
})
