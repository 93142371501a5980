// What has to be made anew when NATS comes back without its store: nobody else would do it, and NATS
// says so once. A NATS that is restarted again at that moment has its store, and tells nobody.
import { setTimeout as sleep } from 'node:timers/promises'

const pauseMs = 1_000

/**
 * Tries until it is done, or nobody wants it any more.
 * @param onError told of each attempt that failed
 */
export async function untilDone(
  make: () => Promise<unknown>,
  onError: (cause: unknown) => void,
  isWanted: () => boolean = () => true,
): Promise<void> {
  while (isWanted()) {
    try {
      await make()
      return
    } catch (cause) {
      onError(cause)
      await sleep(pauseMs, undefined, { ref: false })
    }
  }
}
