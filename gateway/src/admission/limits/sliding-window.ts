// Counts of the last minute, in slots of half a second. A slot leaves a minute after its END: what it
// holds is counted for 60.0 to 60.5 s, so no minute can hold more than was allowed, and what is kept
// is bounded however high a limit is. (redis-scripts.ts does the same inside Redis.)

export const slotMs = 500
/** A minute, and the slot that an event is in. */
export const windowSlots = 60_000 / slotMs + 1

interface Slot {
  slot: number
  requests: number
  tokens: number
}

export class SlidingWindow {
  requests = 0
  tokens = 0
  /** Oldest first; at most `windowSlots` of them after `expire`. */
  readonly #slots: Slot[] = []

  get isEmpty(): boolean {
    return this.#slots.length === 0
  }

  /** Forgets what left the window. @param now milliseconds */
  expire(now: number): void {
    const gone = slotOf(now) - windowSlots
    for (let first = this.#slots[0]; first !== undefined; first = this.#slots[0]) {
      if (first.slot > gone) break
      this.#slots.shift()
      this.requests -= first.requests
      this.tokens -= first.tokens
    }
  }

  /** Milliseconds until so many more fit below the limit; null: never. */
  waitFor(kind: 'requests' | 'tokens', more: number, limit: number, now: number): number | null {
    if (more > limit) return null
    let surplus = this[kind] + more - limit
    if (surplus <= 0) return 0
    for (const one of this.#slots) {
      surplus -= one[kind]
      if (surplus <= 0) return leavesIn(one.slot, now)
    }
    return this.resetMs(now)
  }

  /** Until the last slot leaves, in milliseconds. */
  resetMs(now: number): number {
    const last = this.#slots.at(-1)
    return last === undefined ? 0 : leavesIn(last.slot, now)
  }

  /** @returns the slot, for `correct` */
  charge(now: number, requests: number, tokens: number): number {
    const last = this.#slots.at(-1)
    const slot = Math.max(slotOf(now), last?.slot ?? 0)
    if (last?.slot === slot) {
      last.requests += requests
      last.tokens += tokens
    } else this.#slots.push({ slot, requests, tokens })
    this.requests += requests
    this.tokens += tokens
    return slot
  }

  /** More tokens are counted now, where they were generated; fewer where they were charged. */
  correct(now: number, slot: number, tokens: number): void {
    if (tokens > 0) this.charge(now, 0, tokens)
    else this.#takeBack(slot, 0, -tokens)
  }

  /** As if it had never been charged. */
  undo(slot: number, tokens: number): void {
    this.#takeBack(slot, 1, tokens)
  }

  #takeBack(slot: number, requests: number, tokens: number): void {
    const charged = this.#slots.find((one) => one.slot === slot)
    if (charged === undefined) return
    charged.requests -= requests
    charged.tokens -= tokens
    this.requests -= requests
    this.tokens -= tokens
  }
}

function slotOf(now: number): number {
  return Math.floor(now / slotMs)
}

function leavesIn(slot: number, now: number): number {
  return Math.max(1, Math.ceil((slot + windowSlots) * slotMs - now))
}
