// How much is under way at once: as many lines of a model group as its slots can take, and as many
// bytes of input as memory should hold. Who waits is let in in the order of arrival.

/** Nothing happens when it is called again. */
export type Leave = () => void

interface Waiting {
  size: number
  enter(): void
}

/** A room for so much, whose limit may change; something larger than all of it gets in alone. */
export function createRoom(limitOf: () => number) {
  const waiting = new Set<Waiting>()
  let used = 0

  const pump = () => {
    for (const one of waiting) {
      if (used > 0 && used + one.size > limitOf()) return
      waiting.delete(one)
      used += one.size
      one.enter()
    }
  }
  const leaveOnce = (size: number): Leave => {
    let isIn = true
    return () => {
      if (!isIn) return
      isIn = false
      used -= size
      pump()
    }
  }

  return {
    get used() {
      return used
    },
    get isEmpty() {
      return used === 0 && waiting.size === 0
    },
    /** To be called when the limit has grown. */
    pump,
    /** @returns null: the signal came first */
    enter(size: number, signal: AbortSignal): Promise<Leave | null> {
      if (signal.aborted) return Promise.resolve(null)
      if (waiting.size === 0 && (used === 0 || used + size <= limitOf())) {
        used += size
        return Promise.resolve(leaveOnce(size))
      }
      return new Promise((resolve) => {
        const giveUp = () => {
          waiting.delete(one)
          resolve(null)
          pump()
        }
        const one: Waiting = {
          size,
          enter() {
            signal.removeEventListener('abort', giveUp)
            resolve(leaveOnce(size))
          },
        }
        signal.addEventListener('abort', giveUp, { once: true })
        waiting.add(one)
      })
    },
  }
}
export type Room = ReturnType<typeof createRoom>

export interface InFlight {
  readonly lines: number
  /** A line of the group may be sent. @returns null: the signal came first */
  enter(group: string, signal: AbortSignal): Promise<Leave | null>
  /** The fleet has changed. */
  pump(): void
}

/** Lines beyond the slots, so that the next one waits at the router when a slot becomes free. */
const leastAhead = 4
const mostAhead = 128

/** @param slotsOf of a model group now, all deployments together; 0: nobody serves it */
export function createInFlight(slotsOf: (group: string) => number): InFlight {
  const rooms = new Map<string, Room>()
  return {
    get lines() {
      let lines = 0
      for (const room of rooms.values()) lines += room.used
      return lines
    },
    async enter(group, signal) {
      const room = rooms.get(group) ?? createRoom(() => limitFor(slotsOf(group)))
      rooms.set(group, room)
      const leave = await room.enter(1, signal)
      if (leave === null) return null
      return () => {
        leave()
        if (room.isEmpty && rooms.get(group) === room) rooms.delete(group)
      }
    },
    pump() {
      for (const room of rooms.values()) room.pump()
    },
  }
}

export function limitFor(slots: number): number {
  return slots + Math.max(leastAhead, Math.min(mostAhead, slots))
}
