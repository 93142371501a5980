// Late binding: requests wait per model group, and one is tied to a deployment at the moment a slot
// is free there. Keeps the waiting rooms, and what is known of each deployment; sends nothing
// itself: `assign` does, and a request that may wait no longer goes to `giveUp`.
import type { SlotReport } from '@penstock/shared/contracts/channels'
import type { ErrorInfo } from '@penstock/shared/contracts/errors'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import type { RequestEnvelope } from '@penstock/shared/contracts/request'
import { createAlarms } from './alarms.ts'
import { createChooser } from './choose.ts'
import { isOver, queueFull, tooLargeForLimits, whyOver } from './expiry.ts'
import type { Breakers } from './health/breaker.ts'
import type { PrefixMemory } from './health/prefix-affinity.ts'
import type { RateLimits } from './health/rate-limits.ts'
import type { Stats } from './health/stats.ts'
import { createDrainRate, type DrainRate } from './queue/drain-rate.ts'
import { createOpenLanes } from './queue/open-lanes.ts'
import { createWaitingRoom, type Waiter, type WaitingRoom } from './queue/waiting-room.ts'
import { meets, type Requirement } from './requirement.ts'
import { createSettlement } from './settlement.ts'
import type { Slots } from './slots.ts'
import type { Strategy } from './strategies/strategy.ts'

/** One request that waits for a slot. */
export interface Waiting extends Waiter {
  request: RequestEnvelope
  group: string
  requirement: Requirement
  /** When its client last heard of its position, or began to wait. */
  toldAt: number
  reasons: string[]
}

export interface GroupLimits {
  /** Most requests that may wait; null: no bound of its own. */
  maxQueueDepth: number | null
  /** Longest wait, in milliseconds; null: until the deadline. */
  maxQueueWaitMs: number | null
}

export interface SchedulerParts {
  strategy: () => Strategy
  limitsOf(group: string): GroupLimits
  /** Whether rpm and tpm are hard limits. */
  enforceRates: () => boolean
  /** By the name under which a request waits: a group, or a model that a wildcard group serves. */
  inGroup(name: string): readonly DeploymentInfo[]
  infoOf(deploymentId: string): DeploymentInfo | undefined
  slots: Slots
  stats: Stats
  breakers: Breakers
  rates: RateLimits
  prefixes: PrefixMemory
  now: () => number
  random: () => number
  assign(waiting: Waiting, deployment: DeploymentInfo, reasons: string[]): void
  giveUp(waiting: Waiting, error: ErrorInfo): void
  /** A breaker opened: what waits under this name may have somewhere better to go. */
  onUnhealthy(name: string): void
}

export interface Scheduler {
  /** @throws PenstockError `queue_full` when the group's queue is at its bound */
  enqueue(waiting: Waiting): void
  /** @returns false if it did not wait here */
  remove(waiting: Waiting): boolean
  /** The hand-over failed: the slot is free again, and the share is not charged. */
  takeBack(waiting: Waiting, deploymentId: string): void
  /** Hands out what slots are free in a model group, to whatever waits for it. */
  serveGroup(group: string): void
  onReport(report: SlotReport): void
  /** Ends what waited too long. */
  expire(): void
  /** The same for requests that wait elsewhere, for the end of a pause. */
  expireAmong(waiting: Iterable<Waiting>): void
  rooms(): ReadonlyMap<string, WaitingRoom<Waiting>>
  drainPerSecond(group: string): number
  close(): void
}

/** Until a slot whose hand-over failed goes to whoever waits then, in ms: its own request tries before. */
const takenBackMs = 600

export function createScheduler(parts: SchedulerParts): Scheduler {
  const { slots, breakers, prefixes, now } = parts
  const rooms = new Map<string, WaitingRoom<Waiting>>()
  const drains = new Map<string, DrainRate>()
  const alarms = createAlarms(serve, now)
  const chooser = createChooser(parts)
  const settlement = createSettlement({
    ...parts,
    sharesOf: (group) => rooms.get(group)?.shares,
  })

  const drainOf = (group: string) => {
    let drain = drains.get(group)
    if (drain === undefined) {
      drain = createDrainRate(now)
      drains.set(group, drain)
    }
    return drain
  }

  function enqueue(waiting: Waiting): void {
    let room = rooms.get(waiting.group)
    if (room === undefined) {
      room = createWaitingRoom<Waiting>()
      rooms.set(waiting.group, room)
    }
    const members = parts.inGroup(waiting.group)
    const { maxQueueDepth } = parts.limitsOf(waiting.group)
    if (
      maxQueueDepth !== null &&
      room.size >= maxQueueDepth &&
      waiting.request.history.length === 0
    ) {
      // A slot may be free right now: the bound is for those who must wait.
      if (
        room.size > 0 ||
        !look(members).free.some((info) => meets(waiting.requirement, info, members))
      )
        throw queueFull(waiting.group, room.size, drainOf(waiting.group).perSecond())
    }
    if (chooser.exceedsEveryLimit(waiting, members)) throw tooLargeForLimits(waiting.group)
    room.add(waiting)
    serve(waiting.group)
  }

  /** Those with a free slot, by whether their breaker lets a call through, and when the first of the others may. */
  function look(members: readonly DeploymentInfo[]) {
    const free: DeploymentInfo[] = []
    let recoversAt = Number.POSITIVE_INFINITY
    for (const info of members) {
      if (slots.inUse(info.id) >= info.slots) continue
      // One question: of two, the breaker's pause could end in between, and nobody would be woken.
      const at = breakers.recoversAt(info.id)
      if (at === null) free.push(info)
      else recoversAt = Math.min(recoversAt, at)
    }
    return { free, recoversAt }
  }

  function serve(group: string): void {
    const room = rooms.get(group)
    if (room === undefined || room.size === 0) return
    const members = parts.inGroup(group)
    const first = look(members)
    let { free } = first
    /** When somebody may get through who does not now: a breaker's pause ends, a rate limit has room. */
    let wakeAt = first.recoversAt
    while (free.length > 0) {
      const lanes = createOpenLanes()
      const isOpen = (head: Waiting): boolean => {
        const { requirement, request, lane } = head
        const isSized = parts.enforceRates() || requirement.promptTokens !== null
        return lanes.isOpen(lane, isSized ? request.promptTokens : 0, () => {
          const open = free.some((info) => chooser.canTake(head, info, members))
          if (!open) wakeAt = Math.min(wakeAt, chooser.roomAt(head, free, members))
          return open
        })
      }
      const next = room.next(isOpen)
      if (next === null) break
      const chosen = chooser.choose(next, free, members)
      if (chosen === null) break
      give(room, next, chosen.info, chosen.reasons)
      const left = look(free)
      free = left.free
      wakeAt = Math.min(wakeAt, left.recoversAt)
    }
    if (room.size > 0 && wakeAt < Number.POSITIVE_INFINITY) alarms.set(group, wakeAt)
  }

  function serveGroup(group: string): void {
    for (const name of namesOf(new Set([group]))) serve(name)
  }

  /** The names under which requests wait for these model groups. */
  function namesOf(groups: ReadonlySet<string>): string[] {
    if (groups.size === 0) return []
    return [...rooms.keys()].filter((name) =>
      parts.inGroup(name).some((info) => groups.has(info.group)),
    )
  }

  function give(
    room: WaitingRoom<Waiting>,
    waiting: Waiting,
    info: DeploymentInfo,
    reasons: string[],
  ) {
    const { request } = waiting
    const job = { requestId: request.id, hop: request.history.length, deploymentId: info.id }
    room.take(waiting, settlement.expectedMs(info.id))
    settlement.begin(job, waiting, waiting.group, request.promptTokens)
    slots.take(info.id, job.requestId, job.hop)
    if (request.prefixes.length > 0) prefixes.remember(request.prefixes, info.id)
    drainOf(waiting.group).note()
    parts.assign(waiting, info, reasons)
  }

  /** Ends what of these, all of one group, has waited too long. */
  function endThose(group: string, all: Iterable<Waiting>): void {
    const time = now()
    const { maxQueueWaitMs } = parts.limitsOf(group)
    const waitOf = ({ request, enqueuedAt }: Waiting) => {
      return { request, waitedMs: time - enqueuedAt, maxQueueWaitMs, now: time }
    }
    const over: Waiting[] = []
    for (const waiting of all) if (isOver(waitOf(waiting))) over.push(waiting)
    for (const waiting of over) {
      const error = whyOver({
        ...waitOf(waiting),
        group,
        ahead: rooms.get(group)?.size ?? 1,
        drainPerSecond: drainOf(group).perSecond(),
        members: parts.inGroup(group),
        breakers,
      })
      rooms.get(group)?.remove(waiting)
      parts.giveUp(waiting, error)
    }
  }

  return {
    enqueue,
    remove: (waiting) => rooms.get(waiting.group)?.remove(waiting) ?? false,
    takeBack(waiting, deploymentId) {
      const { id: requestId, history } = waiting.request
      slots.release(deploymentId, requestId, history.length)
      settlement.end({ requestId, hop: history.length, deploymentId }, null, 0)
      // Its request may not come back. Not at once: what refused this one would refuse the next.
      const group = parts.infoOf(deploymentId)?.group
      if (group === undefined) return
      for (const name of namesOf(new Set([group]))) alarms.set(name, now() + takenBackMs)
    },
    serveGroup,
    onReport(report) {
      const freed = new Set<string>()
      const opened = new Set<string>()
      slots.apply(report, (holder, outcome) => {
        const hasOpened = settlement.end(holder, outcome, Math.max(1, now() - holder.since))
        const group = parts.infoOf(holder.deploymentId)?.group
        if (group === undefined) return
        freed.add(group)
        if (hasOpened) opened.add(group)
      })
      for (const group of freed) serveGroup(group)
      for (const name of namesOf(opened)) parts.onUnhealthy(name)
    },
    expire() {
      for (const [group, room] of rooms) {
        endThose(group, room.all())
        if (room.size === 0 && room.shares.idle) rooms.delete(group)
      }
    },
    expireAmong(waiting) {
      for (const one of waiting) endThose(one.group, [one])
    },
    rooms: () => rooms,
    drainPerSecond: (group) => drains.get(group)?.perSecond() ?? 0,
    close() {
      alarms.close()
    },
  }
}
