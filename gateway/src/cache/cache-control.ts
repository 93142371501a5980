// What a request says of the cache: LiteLLM's `cache` object in the body (its documentation, "Cache
// Controls"). Times are in seconds there, in milliseconds here.
import { z } from 'zod'

const seconds = z.number().min(0).max(2_147_483).nullish()
const flag = z.boolean().nullish()

export const cacheField = z.looseObject({
  'no-cache': flag,
  'no-store': flag,
  'use-cache': flag,
  ttl: seconds,
  's-maxage': seconds,
  namespace: z.string().max(256).nullish(),
})

export interface CacheControl {
  /** May be answered from the cache. */
  reads: boolean
  /** Its answer may be kept. */
  stores: boolean
  /** How long; null: as configured. */
  ttlMs: number | null
  /** The oldest answer that it takes; null: any. */
  maxAgeMs: number | null
  namespace: string
}

/** @param optIn only a request with `use-cache` is cached */
export function cacheControlOf(
  field: z.output<typeof cacheField> | null | undefined,
  optIn: boolean,
): CacheControl {
  const isOn = !optIn || field?.['use-cache'] === true
  const ms = (value: number | null | undefined) => (value == null ? null : value * 1_000)
  const ttlMs = ms(field?.ttl)
  return {
    reads: isOn && field?.['no-cache'] !== true,
    stores: isOn && field?.['no-store'] !== true && ttlMs !== 0,
    ttlMs,
    maxAgeMs: ms(field?.['s-maxage']),
    namespace: field?.namespace ?? '',
  }
}
