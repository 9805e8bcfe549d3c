// Links to a test's Redis that are closed when the test file ends, whatever happened.
import { after } from 'node:test'
import type { ConnectionSettings } from '../../src/redis/clients.ts'
import { connectRedis, type RedisLink } from '../../src/redis/connection.ts'
import { seededDice } from '../../src/simulator/dice.ts'
import { systemClock } from '../../src/system.ts'
import { until } from './wire.ts'

const links = new Set<RedisLink>()
after(closeLinks)

/** All that are open. */
export async function closeLinks(): Promise<void> {
  await Promise.all([...links].map(link => link.close()))
  links.clear()
}

export const SETTINGS: ConnectionSettings = { commandTimeoutMs: 250, connectTimeoutMs: 2_000 }

/** May be on its way still, or never arrive. */
export function openLink(url: string, settings: Partial<ConnectionSettings> = {}): RedisLink {
  const link = connectRedis(url, { ...SETTINGS, ...settings }, systemClock, seededDice(1))
  links.add(link)
  return link
}

export async function upLink(url: string, settings: Partial<ConnectionSettings> = {}): Promise<RedisLink> {
  const link = openLink(url, settings)
  await until(() => link.isUp, `a link to ${link.address} (${link.trouble})`)
  return link
}

/** What may be lost is said until it is heard. */
export async function publishedUntilHeard(link: RedisLink, channel: string, heard: string[]): Promise<void> {
  const before = heard.length
  const says = async () => {
    await link.publish(channel, 'hint').catch(() => {})
    return heard.length > before
  }
  await until(says, `a hint on ${channel} is heard`, 15_000)
}
