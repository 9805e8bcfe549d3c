// Runs in a thread of its own: reads what one body after another demands, and hashes it. The bytes come over and go back,
// uncopied.
import { parentPort } from 'node:worker_threads'
import { readDemand } from '../wire/demand.ts'
import { payloadHash } from '../wire/payloadHash.ts'
import type { ReadAnswer, ReadJob } from './demandReaders.ts'

parentPort!.on('message', ({ operation, body }: ReadJob) => {
  const bytes = Buffer.from(body)
  const answer: ReadAnswer = { result: readDemand(operation, bytes), sha256: payloadHash(bytes), body }
  parentPort!.postMessage(answer, [body])
})
