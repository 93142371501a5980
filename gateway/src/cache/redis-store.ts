// Cached answers in Redis, shared by all gateways. While Redis is lost nothing is found and nothing is
// kept; requests run as without a cache. Room there is bounded by each answer's time and by Redis's own
// `maxmemory`.
import type { Logger } from '@penstock/shared/telemetry/log'
import { Redis } from 'ioredis'
import type { AnswerStore } from './store.ts'

const commandMs = 500
const connectMs = 2_000
const maxReconnectMs = 1_000
/** After a command that failed it is not asked for so long: requests would wait for it one by one. */
const restMs = 1_000
const prefix = 'penstock:cache:'

/** @throws Error for an odd URL */
export function openRedisStore(url: string, log: Logger): AnswerStore {
  const redis = new Redis(url, {
    connectTimeout: connectMs,
    commandTimeout: commandMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    disableClientInfo: true,
    retryStrategy: (times) => Math.min(times * 100, maxReconnectMs),
  })
  let isLost = false
  let restsUntil = 0
  const lost = (cause: unknown) => {
    const reason = cause instanceof Error ? cause.message : String(cause)
    if (!isLost) log.warn({ reason }, 'Redis is lost: answers are not cached')
    isLost = true
    restsUntil = Date.now() + restMs
  }
  const answered = () => {
    if (isLost) log.info('Redis answers: answers are cached again')
    isLost = false
    restsUntil = 0
  }
  redis.on('ready', answered)
  redis.on('error', lost)
  const isThere = () => redis.status === 'ready' && Date.now() >= restsUntil

  return {
    async get(key) {
      if (!isThere()) return null
      try {
        const found = await redis.getBuffer(`${prefix}${key}`)
        answered()
        return found
      } catch (cause) {
        lost(cause)
        return null
      }
    },
    put(key, answer, ttlMs) {
      if (!isThere()) return
      const ms = Math.max(1, Math.round(ttlMs))
      redis.set(`${prefix}${key}`, Buffer.from(answer), 'PX', ms).catch(lost)
    },
    close() {
      redis.removeAllListeners()
      // What is on its way fails, and nobody has to hear of it.
      redis.on('error', () => {})
      redis.disconnect()
    },
  }
}
