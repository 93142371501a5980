// The fleet as workers announce it: which deployments exist now, and which worker serves each.
// Gateways list models from it, routers choose from it. It stays as it is while this process
// hears nobody.
import type { Logger } from 'pino'
import { channels } from '../contracts/channels.ts'
import type { DeploymentInfo, WorkerHeartbeat } from '../contracts/fleet.ts'
import { broadcast, listen } from './broadcast.ts'
import type { Bus } from './connect.ts'
import { createHearing } from './hearing.ts'
import { heartbeatLostMs } from './heartbeat.ts'

export interface FleetView {
  /** Deployments with at least one living worker that is not draining, by id. */
  readonly deployments: ReadonlyMap<string, DeploymentInfo>
  /** The same, by model group. */
  inGroup(group: string): readonly DeploymentInfo[]
  groups(): readonly string[]
  /** Other names of these groups: alias → group. No prototype: any key is safe to look up. */
  readonly aliases: Readonly<Record<string, string>>
  /** Called when a deployment joins, leaves or changes. */
  onChange(listener: () => void): void
  close(): void
}

export function watchFleet(bus: Bus, log: Logger, now: () => number = Date.now): FleetView {
  const workers = new Map<string, { beat: WorkerHeartbeat; at: number; text: string }>()
  const listeners: (() => void)[] = []
  let deployments = new Map<string, DeploymentInfo>()
  let byGroup = new Map<string, DeploymentInfo[]>()
  let aliases: Record<string, string> = Object.create(null)

  const rebuild = () => {
    deployments = new Map()
    byGroup = new Map()
    aliases = Object.create(null)
    for (const { beat } of workers.values()) {
      if (beat.draining) continue
      for (const info of beat.deployments) deployments.set(info.id, info)
      Object.assign(aliases, beat.aliases)
    }
    for (const info of deployments.values()) {
      const group = byGroup.get(info.group)
      if (group === undefined) byGroup.set(info.group, [info])
      else group.push(info)
    }
    for (const listener of listeners) listener()
  }

  const hearing = createHearing(now)
  bus.onReconnect(hearing.reconnected)
  const anyone = listen(bus, log, channels.alive, hearing.heard)
  const sub = listen(bus, log, channels.fleet, (beat) => {
    const text = JSON.stringify(beat)
    const known = workers.get(beat.workerId)
    workers.set(beat.workerId, { beat, at: now(), text })
    if (known?.text !== text) rebuild()
  })
  const sweep = setInterval(() => {
    const since = hearing.since()
    if (!bus.connected || since === null) return
    let lost = false
    for (const [id, { at }] of workers) {
      if (now() - Math.max(at, since) <= heartbeatLostMs) continue
      workers.delete(id)
      lost = true
    }
    if (lost) rebuild()
  }, 500)
  sweep.unref()
  broadcast(bus, channels.fleetAsk, {})

  return {
    get deployments() {
      return deployments
    },
    inGroup: (group) => byGroup.get(group) ?? [],
    groups: () => [...byGroup.keys()],
    get aliases() {
      return aliases
    },
    onChange: (listener) => {
      listeners.push(listener)
    },
    close() {
      clearInterval(sweep)
      sub.unsubscribe()
      anyone.unsubscribe()
    },
  }
}
