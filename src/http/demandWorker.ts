// Runs in a thread of its own: reads what one body after another demands. The bytes come over and go back, uncopied.
import { parentPort } from 'node:worker_threads'
import { readDemand } from '../wire/demand.ts'
import type { ReadAnswer, ReadJob } from './demandReaders.ts'

parentPort!.on('message', ({ operation, body }: ReadJob) => {
  const answer: ReadAnswer = { result: readDemand(operation, Buffer.from(body)), body }
  parentPort!.postMessage(answer, [body])
})
