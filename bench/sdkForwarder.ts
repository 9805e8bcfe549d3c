// What a team would write in an afternoon: parse the call, make it again with the AWS SDK's client, send back the answer.
// Given keep-alive connections, which its client has not by default on http://, so that it is measured at its best.

import { Agent } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Writable } from 'node:stream'
import {
  BedrockRuntimeClient,
  ConverseCommand,
  type ConverseCommandInput,
  ConverseStreamCommand,
} from '@aws-sdk/client-bedrock-runtime'
import { EventStreamCodec } from '@smithy/core/event-streams'
import { NodeHttpHandler } from '@smithy/node-http-handler'
import { systemClock } from '../src/system.ts'
import { createOnePort } from '../src/transport/onePort.ts'

const client = new BedrockRuntimeClient({
  region: 'us-east-1',
  endpoint: process.argv[2]!,
  credentials: { accessKeyId: 'AKIDBENCH', secretAccessKey: 'bench' },
  requestHandler: new NodeHttpHandler({ httpAgent: new Agent({ keepAlive: true, maxSockets: 1024 }) }),
})
const codec = new EventStreamCodec(
  bytes => Buffer.from(bytes).toString('utf8'),
  text => Buffer.from(text),
)

const server = createOnePort(
  {
    headersTimeoutMs: 15_000,
    requestTimeoutMs: 60_000,
    idleTimeoutMs: 75_000,
    maxHeaderBytes: 32_768,
    maxConnections: 65_536,
    clock: systemClock,
  },
  (request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', async () => {
      const [, , id, operation] = request.url!.split('/')
      const input: ConverseCommandInput = {
        modelId: decodeURIComponent(id!),
        ...JSON.parse(Buffer.concat(chunks).toString()),
      }
      if (operation === 'converse') {
        const { $metadata, ...output } = await client.send(new ConverseCommand(input))
        response.setHeader('content-type', 'application/json')
        response.setHeader('x-amzn-requestid', $metadata.requestId ?? '')
        response.end(JSON.stringify(output))
        return
      }
      const { stream } = await client.send(new ConverseStreamCommand(input))
      response.setHeader('content-type', 'application/vnd.amazon.eventstream')
      const writable: Writable = response
      for await (const event of stream!) {
        const [type, payload] = Object.entries(event)[0]!
        const text = (value: string) => ({ type: 'string' as const, value })
        const headers = {
          ':event-type': text(type),
          ':content-type': text('application/json'),
          ':message-type': text('event'),
        }
        const frame = Buffer.from(codec.encode({ headers, body: Buffer.from(JSON.stringify(payload)) }))
        writable.write(frame)
      }
      response.end()
    })
  },
)
server.listen(0, '127.0.0.1', () =>
  process.stdout.write(`${JSON.stringify({ port: (server.address() as AddressInfo).port })}\n`),
)
