// Reads a blob of JetStream's object store. The library's own way waits for chunks for ever: one that is
// removed between the look at its entry and the first chunk has none, and nobody says so.
import type { ObjectStore } from '@nats-io/obj'

/** Without a further chunk for so long it is given up, in milliseconds. */
const silenceMs = 10_000

export interface ReadOptions {
  /** Aborted: it is wanted no longer. */
  signal?: AbortSignal | undefined
  limitMs?: number
}

/**
 * @returns null: there is none
 * @throws Error where NATS does not answer, or not all of it comes, or the signal first
 */
export async function readBlob(
  store: Pick<ObjectStore, 'get'>,
  name: string,
  { signal, limitMs = silenceMs }: ReadOptions = {},
): Promise<Uint8Array | null> {
  const found = await store.get(name)
  if (found === null) return null
  // It is told by the chunks as well, and must not count as unhandled.
  found.error.catch(() => undefined)
  const reader = found.data.getReader()
  const giveUp = () => void reader.cancel().catch(() => undefined)
  const silence = setTimeout(giveUp, limitMs)
  signal?.addEventListener('abort', giveUp, { once: true })
  if (signal?.aborted) giveUp()
  const chunks: Uint8Array[] = []
  let bytes = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) break
      silence.refresh()
      chunks.push(value)
      bytes += value.length
    }
  } finally {
    clearTimeout(silence)
    signal?.removeEventListener('abort', giveUp)
  }
  if (bytes !== found.info.size) throw new Error('a part of the blob is not there any more')
  return Buffer.concat(chunks)
}
