// Inventing user names wins nothing against other clients; within a client it may not starve those who keep theirs.
import { test } from 'node:test'
import { golden, seedsFrom } from './golden.ts'
import { runFreshNeighbour, runTwoLevels, SCENES } from './twoLevels.ts'

const SEEDS = seedsFrom(1, 2)
const MOST_OF_SHARE = 1.03
const LEAST_OF_SHARE = 0.97

for (const scene of SCENES) {
  test(`a client with ${scene} gets no more than its share, and the others no less`, t => {
    const limits = {
      atMost: { B: MOST_OF_SHARE },
      atLeast: { A: LEAST_OF_SHARE, C: LEAST_OF_SHARE, 'users of C (Jain)': 0.99, use: 0.97 },
    }
    golden(t, SEEDS, limits, options => runTwoLevels(scene, options))
  })
}

test('a user who keeps its name is not starved by a neighbour with a new one for every request', t => {
  golden(t, SEEDS, { atLeast: { known: 0.8 } }, runFreshNeighbour)
})
