// A reader of large bodies that does what the body says, so that tests can have one that is slow, stuck, or dies.
import { readFileSync } from 'node:fs'
import { parentPort } from 'node:worker_threads'
import type { ReadAnswer, ReadJob } from '../../src/http/demandReaders.ts'
import { readDemand } from '../../src/wire/demand.ts'
import { payloadHash } from '../../src/wire/payloadHash.ts'

parentPort!.on('message', ({ operation, body }: ReadJob) => {
  const bytes = Buffer.from(body)
  const order = /"order":"(\w+) ?([^"]*)"/.exec(bytes.toString('latin1', 0, 1_000))
  if (order?.[1] === 'die') process.exit(3)
  if (order?.[1] === 'throw') throw new Error('ordered to throw')
  if (order?.[1] === 'hang') for (;;);
  // Until the file has something in it.
  if (order?.[1] === 'await') while (readFileSync(order[2]!).length === 0);
  const answer: ReadAnswer = { result: readDemand(operation, bytes), sha256: payloadHash(bytes), body }
  parentPort!.postMessage(answer, [body])
})
