// The exact cache: a request that equals an earlier one gets that one's answer, and equal requests that
// wait together go upstream once. A failure is never kept.
import type { CacheSettings } from '@penstock/shared/config/cache-settings'
import { toErrorInfo } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { CacheControl } from './cache-control.ts'
import { createFlight, type Flight, type Member } from './flight.ts'
import { createMemoryStore } from './memory-store.ts'
import { decodeRecording, encodeRecording, type Recording, replay } from './recording.ts'
import { openRedisStore } from './redis-store.ts'
import type { AnswerStore } from './store.ts'

export interface CacheQuestion {
  /** Of everything that the answer depends on: see cache-key.ts. */
  key: string
  control: CacheControl
  settings: CacheSettings
  stream: boolean
}

export interface AnswerCache {
  /** Answers the member; it is asked to start only where no answer is there or on its way. @returns leave */
  run(question: CacheQuestion, member: Member): () => void
  close(): void
}

export interface AnswerCacheOptions {
  /** Null: there is none so far; a reload may say otherwise. */
  settings: CacheSettings | null
  /** Where the config names no other Redis; null: there is none. */
  redisUrl: string | null
  log: Logger
}

export function createAnswerCache(options: AnswerCacheOptions): AnswerCache {
  const { redisUrl, log } = options
  /** Runs that equal requests may join. */
  const flights = new Map<string, Flight>()
  let opened: { name: string; store: AnswerStore } | null = null

  /** Another one after a reload that says so. */
  function storeOf(settings: CacheSettings): AnswerStore {
    const { type, maxEntries, maxBytes } = settings
    const url = type === 'redis' ? (settings.redisUrl ?? redisUrl) : null
    const name = JSON.stringify([url, maxEntries, maxBytes])
    if (opened?.name === name) return opened.store
    opened?.store.close()
    if (type === 'redis' && url === null) {
      log.warn('cache_params.type is redis, but REDIS_URL is not set: answers are cached in memory')
    }
    const store =
      url === null ? createMemoryStore({ maxEntries, maxBytes }) : openRedisStore(url, log)
    opened = { name, store }
    return store
  }

  // At once, so that the first request finds a connection.
  if (options.settings !== null) storeOf(options.settings)

  async function find(
    store: AnswerStore,
    key: string,
    maxAgeMs: number | null,
  ): Promise<Recording | null> {
    const bytes = await store.get(key)
    const found = bytes === null ? null : decodeRecording(bytes)
    if (found === null || maxAgeMs === null) return found
    return Date.now() - found.at <= maxAgeMs ? found : null
  }

  return {
    run({ key, control, settings, stream }, member) {
      const { reads, stores, ttlMs, maxAgeMs } = control
      const sameWay = `${key} ${stores} ${ttlMs} ${maxAgeMs}`
      const joined = reads ? flights.get(sameWay)?.join(member) : null
      if (joined != null) return joined

      const store = storeOf(settings)
      let isHit = false
      const forget = () => {
        if (flights.get(sameWay) === flight) flights.delete(sameWay)
      }
      const flight = createFlight({
        stream,
        maxBytes: settings.maxEntryBytes,
        outlivesClients: false,
        onOver(recording) {
          forget()
          if (isHit || !stores || recording === null || recording.end === null) return
          store.put(key, encodeRecording(recording), ttlMs ?? settings.ttlMs)
        },
        onEmpty: forget,
      })
      const leave = flight.join(member) ?? (() => {})
      if (!reads) {
        flight.lead()
        return leave
      }
      flights.set(sameWay, flight)
      find(store, key, maxAgeMs)
        .then((found) => {
          isHit = found !== null
          if (found === null) flight.lead()
          else replay(found, flight.sink)
        })
        .catch((cause) => flight.sink.onError(toErrorInfo(cause)))
      return leave
    },
    close() {
      opened?.store.close()
      opened = null
    },
  }
}
