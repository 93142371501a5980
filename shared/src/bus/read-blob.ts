// Reads a blob of JetStream's object store, or gives up. The client library's own `getBlob` waits for ever
// where its bytes are deleted, or NATS is restarted, after it has found the blob's entry.
import type { ObjectStore } from '@nats-io/obj'

/** The pause before any part of a blob, in milliseconds: parts are half a megabyte at most. */
const patienceMs = 10_000

/** Null: there is none. @throws Error where it stops coming, or NATS does not answer */
export async function readBlob(
  store: Pick<ObjectStore, 'get'>,
  name: string,
  limitMs = patienceMs,
): Promise<Uint8Array | null> {
  const found = await store.get(name)
  if (found === null) return null
  const reader = found.data.getReader()
  let isStuck = false
  const giveUp = () => {
    isStuck = true
    // Its consumer ends, and with it the reading below.
    void reader.cancel().catch(() => undefined)
  }
  const timer = setTimeout(giveUp, limitMs)
  // Nobody asks for it where reading throws.
  found.error.catch(() => undefined)
  const parts: Uint8Array[] = []
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      parts.push(value)
      timer.refresh()
    }
  } finally {
    clearTimeout(timer)
  }
  if (isStuck) throw new Error('The blob stopped coming.')
  const failure = await found.error
  if (failure) throw failure
  return Buffer.concat(parts)
}
