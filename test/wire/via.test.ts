import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sluicesPassed, viaOnward } from '../../src/wire/via.ts'

const VIAS: [string | undefined, number][] = [
  [undefined, 0],
  ['', 0],
  ['1.1 sluice', 1],
  [' 1.1 sluice ,1.1 nginx,1.1 sluice', 2],
  ['1.1 sluices, 1.1 sluice.example.org, sluice, 1.1 sluice (a comment)', 0],
  [new Array(200).fill('1.1 sluice').join(','), 200],
]
for (const [via, passed] of VIAS)
  test(`${passed} Sluices in ${JSON.stringify(via?.slice(0, 70))}, and one more onward`, () => {
    assert.equal(sluicesPassed(via), passed)
    assert.equal(sluicesPassed(viaOnward(via)), passed + 1)
    assert.match(viaOnward(via), /^1\.1 sluice(, 1\.1 sluice)*$/)
  })
