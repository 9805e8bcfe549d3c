// The reply of scripts/status.lua as a snapshot. Fractions come as text, because Redis cuts a script's numbers to integers.
import type { BucketSnapshot, PoolSnapshot, RoomSnapshot } from '../domain/roomSnapshot.ts'
import type { ScriptReply } from './script.ts'

type Row = (number | string)[]

export function readSnapshot(reply: ScriptReply): RoomSnapshot {
  const [asOfMs, reserved, gateways, epoch, pools, classes, meter, clients, flows, napMs] = reply as ScriptReply[]
  const times = (meter as Row).map(Number)
  return {
    asOfMs: Number(asOfMs),
    reserved: Number(reserved),
    gateways: Number(gateways),
    epoch: Number(epoch),
    pools: (pools as [string, string, string, string, Row, Row][]).map(pool),
    classes: (classes as Row[]).map(row => {
      const [waiting, virtualS, credit, waitingCostS, waitingWeight, , servedPerS] = row.map(Number) as Figures
      const askedMs = row[5] === '' ? Number.NEGATIVE_INFINITY : Number(row[5])
      return { waiting, virtualS, credit, waitingCostS, waitingWeight, askedMs, servedPerS }
    }),
    meter: {
      startMs: times[0]!,
      hasPrevious: times[1] === 1,
      current: times.slice(2, 5),
      previous: times.slice(5, 8),
      reserved: times[8]!,
      charged: times[9]!,
    },
    clients: (clients as Row[]).map(([rank, client, ...rest]) => {
      const [waiting, weight, tag, stamp, virtualS, users, servedS] = rest.map(Number) as Figures
      return { rank: Number(rank), client: String(client), waiting, weight, tag, stamp, virtualS, users, servedS }
    }),
    flows: (flows as Row[]).map(([rank, client, user, waiting, tag]) => ({
      rank: Number(rank),
      client: String(client),
      user: String(user),
      waiting: Number(waiting),
      tag: Number(tag),
    })),
    napMs: napMs === '' ? undefined : Number(napMs),
  }
}

type Figures = [number, number, number, number, number, number, number]

function pool([name, gate, heldUntilMs, purse, requests, tokens]: [
  string,
  string,
  string,
  string,
  Row,
  Row,
]): PoolSnapshot {
  return {
    name,
    gate: Number(gate),
    heldUntilMs: Number(heldUntilMs),
    purse: Number(purse),
    ...(requests.length > 0 && { requests: bucket(requests) }),
    ...(tokens.length > 0 && { tokens: bucket(tokens) }),
  }
}

function bucket(row: Row): BucketSnapshot {
  const [level, asOfMs, stockedAtMs, quotaPerMinute, burst] = row.map(Number) as Figures
  return { level, asOfMs, stockedAtMs, quotaPerMinute, burst }
}
