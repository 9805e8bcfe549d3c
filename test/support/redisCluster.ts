// A Redis Cluster of three masters, each with a third of the slots: what tests need to see keys and channels routed.
import { Redis } from 'ioredis'
import { startRedis, type TestRedis } from './redisServer.ts'
import { until } from './wire.ts'

export interface TestCluster {
  /** redis+cluster://127.0.0.1:port,… */
  url: string
  /** A third of the slots each, in order. */
  nodes: TestRedis[]
  stop(): Promise<void>
}

const SLOTS = 16_384
const NODES = 3
const FORMED_MS = 30_000

export async function startRedisCluster(args: string[] = []): Promise<TestCluster> {
  // A node that is not heard of for so long is lost: short, so that tests of it are.
  const clustered = [
    '--cluster-enabled',
    'yes',
    '--cluster-node-timeout',
    '2000',
    '--cluster-config-file',
    'nodes.conf',
  ]
  const nodes: TestRedis[] = []
  const stop = async () => {
    for (const node of nodes) await node.stop()
  }
  try {
    for (let i = 0; i < NODES; i++) nodes.push(await startRedis([...clustered, ...args]))
    await form(nodes)
  } catch (error) {
    await stop()
    throw error
  }
  return { url: `redis+cluster://${nodes.map(node => `127.0.0.1:${node.port}`).join(',')}`, nodes, stop }
}

async function form(nodes: TestRedis[]): Promise<void> {
  const clients = nodes.map(node => new Redis({ host: '127.0.0.1', port: node.port }))
  try {
    for (const [i, client] of clients.entries()) {
      const [first, last] = [(SLOTS * i) / NODES, (SLOTS * (i + 1)) / NODES - 1].map(Math.ceil)
      await client.call('cluster', 'addslotsrange', String(first), String(last))
      await client.call('cluster', 'set-config-epoch', String(i + 1))
      if (i > 0) await clients[0]!.call('cluster', 'meet', '127.0.0.1', String(nodes[i]!.port))
    }
    await until(async () => (await Promise.all(clients.map(isFormed))).every(Boolean), 'the cluster forms', FORMED_MS)
  } finally {
    for (const client of clients) client.disconnect()
  }
}

async function isFormed(client: Redis): Promise<boolean> {
  const info = String(await client.call('cluster', 'info'))
  return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${NODES}`)
}
