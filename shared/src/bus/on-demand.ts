// A bucket that is opened when it is first needed, and anew when NATS has lost its store or refused to
// open it: a promise that failed must not be what everybody gets from then on.
import type { Bus } from './connect.ts'

/** @returns the opened one. Its promise rejects where it cannot be opened now; the next call tries again */
export function onDemand<T>(
  bus: Pick<Bus, 'onStoreLost'>,
  open: () => Promise<T>,
): () => Promise<T> {
  let opened: Promise<T> | null = null
  bus.onStoreLost(() => {
    opened = null
  })
  return async () => {
    opened ??= open()
    const mine = opened
    try {
      return await mine
    } catch (cause) {
      // Another one may have been begun meanwhile.
      if (opened === mine) opened = null
      throw cause
    }
  }
}
