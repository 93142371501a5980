// Which lanes are open to a prompt of some size, in one look at the free deployments. Within a lane all
// need the same but for their size: whoever is no longer than one that gets through does too, and
// whoever is no shorter than one that does not has no room any sooner. With many sharers each has a head
// of its own size, and looking at the deployments for each would take too long.
export interface OpenLanes {
  /** @param look whether this one gets through; called only where that does not follow from others */
  isOpen(lane: string, size: number, look: () => boolean): boolean
}

export function createOpenLanes(): OpenLanes {
  /** The longest known to get through, and the shortest known not to. */
  const lanes = new Map<string, { open: number; shut: number }>()
  return {
    isOpen(name, size, look) {
      const lane = lanes.get(name) ?? { open: -1, shut: Number.POSITIVE_INFINITY }
      if (size <= lane.open) return true
      if (size >= lane.shut) return false
      const open = look()
      if (open) lane.open = size
      else lane.shut = size
      lanes.set(name, lane)
      return open
    },
  }
}
