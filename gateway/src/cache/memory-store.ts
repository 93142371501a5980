// Cached answers in this gateway's memory: the least recently used go first when there is no more room.
import type { AnswerStore } from './store.ts'

interface Kept {
  answer: Uint8Array
  expiresAt: number
}

export interface MemoryStoreOptions {
  maxEntries: number
  maxBytes: number
  /** Epoch milliseconds. */
  now?: () => number
}

export function createMemoryStore(options: MemoryStoreOptions): AnswerStore {
  const { maxEntries, maxBytes, now = Date.now } = options
  /** The least recently used one first. */
  const entries = new Map<string, Kept>()
  let bytes = 0

  const drop = (key: string) => {
    bytes -= entries.get(key)?.answer.length ?? 0
    entries.delete(key)
  }

  return {
    async get(key) {
      const found = entries.get(key)
      if (found === undefined) return null
      drop(key)
      if (found.expiresAt <= now()) return null
      entries.set(key, found)
      bytes += found.answer.length
      return found.answer
    },
    put(key, answer, ttlMs) {
      drop(key)
      if (answer.length > maxBytes) return
      entries.set(key, { answer, expiresAt: now() + ttlMs })
      bytes += answer.length
      for (const oldest of entries.keys()) {
        if (entries.size <= maxEntries && bytes <= maxBytes) break
        drop(oldest)
      }
    },
    close() {
      entries.clear()
      bytes = 0
    },
  }
}
