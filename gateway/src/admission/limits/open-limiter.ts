// The limiter of a gateway: in Redis where there is one, else in its memory.
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Metrics } from '../../metrics.ts'
import type { Limiter } from './limiter.ts'
import { createMemoryLimiter } from './memory.ts'
import { openRedisLimiter } from './redis.ts'

export interface OpenLimiterOptions {
  /** Null: this gateway counts alone. */
  url: string | null
  policy(): 'refuse' | 'local'
  metrics: Pick<Metrics, 'watchLimiter'>
  log: Logger
}

export async function openLimiter({
  url,
  policy,
  metrics,
  log,
}: OpenLimiterOptions): Promise<Limiter> {
  const local = createMemoryLimiter()
  if (url === null) return local
  const limiter = await openRedisLimiter({ url, policy, local, log })
  metrics.watchLimiter(limiter)
  return limiter
}
