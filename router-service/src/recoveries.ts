// Notices when a model group is served again. What waits in a group whose deployments all cool down was
// put there because no fallback was healthy either: nobody else would tell it that one is now.

export interface Recoveries {
  /** Whether a group is served that was not when this was asked last. */
  look(): boolean
}

/** @param isServed whether the group has a deployment that lets a call through */
export function createRecoveries(
  groups: () => Iterable<string>,
  isServed: (group: string) => boolean,
): Recoveries {
  let served = new Set<string>()
  return {
    look() {
      const before = served
      served = new Set([...groups()].filter(isServed))
      return [...served].some((group) => !before.has(group))
    },
  }
}
