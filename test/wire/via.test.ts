import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sluicesPassed, viaOnward } from '../../src/wire/via.ts'

const VIAS: [string[], number][] = [
  [[], 0],
  [['Accept', '1.1 sluice', 'via', ''], 0],
  [['Via', '1.1 sluice'], 1],
  [['x', 'via', 'VIA', ' 1.1 sluice ,1.1 nginx,1.1 sluice'], 2],
  [['Via', '1.1 proxy', 'via', '1.1 sluice, 1.1 sluice', 'via', '1.1 sluice'], 3],
  [['via', '1.1 sluices, 1.1 sluice.example.org, sluice, 1.1 sluice (a comment)'], 0],
  [['via', new Array(200).fill('1.1 sluice').join(',')], 200],
]
for (const [headers, passed] of VIAS)
  test(`${passed} Sluices in ${JSON.stringify(headers).slice(0, 90)}, and one more onward`, () => {
    assert.equal(sluicesPassed(headers), passed)
    assert.equal(sluicesPassed(['via', viaOnward(headers)]), passed + 1)
    assert.match(viaOnward(headers), /^1\.1 sluice(, 1\.1 sluice)*$/)
  })
