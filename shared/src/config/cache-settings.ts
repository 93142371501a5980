// LiteLLM's `cache` and `cache_params` as the cache of answers that Penstock has: exact, in the
// gateway's memory or in Redis. What bounds it, and who shares it, stands in `penstock_settings.cache`.
import { z } from 'zod'
import type { Operation } from '../contracts/request.ts'
import * as f from './fields.ts'

/** Who may be answered with what another one was answered. */
export const cacheScopes = ['key', 'team', 'global'] as const

export interface CacheSettings {
  type: 'local' | 'redis'
  /** May hold a password. Null: REDIS_URL. */
  redisUrl: string | null
  /** How long an answer is kept, in milliseconds. */
  ttlMs: number
  /** Caches of different namespaces know nothing of each other. */
  namespace: string
  operations: readonly Operation[]
  /** Only requests that ask for it (`cache: {"use-cache": true}`) are cached. */
  optIn: boolean
  scope: (typeof cacheScopes)[number]
  /** Of the cache in memory, all answers together. */
  maxEntries: number
  maxBytes: number
  /** A larger answer is not kept, in bytes. */
  maxEntryBytes: number
}

/** LiteLLM's. Those after the first two are kept as an exact cache too, and warned of. */
const types = [
  'local',
  'redis',
  'redis-semantic',
  'valkey-semantic',
  'qdrant-semantic',
  's3',
  'gcs',
  'azure-blob',
  'disk',
] as const

const callTypes: Readonly<Record<string, Operation>> = {
  completion: 'chat',
  acompletion: 'chat',
  text_completion: 'completion',
  atext_completion: 'completion',
  embedding: 'embedding',
  aembedding: 'embedding',
}

export const cacheParamsShape = {
  type: f.oneOf(types).optional(),
  host: f.text.optional(),
  port: f.positiveCount.optional(),
  password: f.textOrEmpty.optional(),
  url: z
    .string('expected a URL that begins with redis:// or rediss://')
    .regex(/^rediss?:\/\//, 'expected a URL that begins with redis:// or rediss://')
    .optional(),
  ttl: f.secondsToMs.optional(),
  namespace: f.text.optional(),
  supported_call_types: f.textList.optional(),
  mode: f.oneOf(['default_on', 'default_off']).optional(),
}
const cacheParams = z.looseObject(cacheParamsShape, 'expected a map')
export const cacheShape = { cache: f.flag.optional(), cache_params: cacheParams.optional() }

export const cacheBounds = z.strictObject(
  {
    scope: f.oneOf(cacheScopes).optional(),
    max_entries: f.positiveCount.optional(),
    max_bytes: f.positiveCount.optional(),
    max_entry_bytes: f.positiveCount.optional(),
  },
  'expected a map',
)

const MiB = 1024 * 1024
/** LiteLLM's default in memory. */
const defaultTtlMs = 600_000

interface Written {
  cache?: boolean | undefined
  cache_params?: z.output<typeof cacheParams> | undefined
}

/** Null: nothing is cached. */
export function cacheSettingsOf(
  { cache, cache_params: params = {} }: Written,
  bounds: z.output<typeof cacheBounds> = {},
): CacheSettings | null {
  if (cache !== true) return null
  const redisUrl = redisUrlOf(params)
  const named = params.supported_call_types?.flatMap((name) => callTypes[name] ?? [])
  return {
    type: params.type === 'redis' || redisUrl !== null ? 'redis' : 'local',
    redisUrl,
    ttlMs: params.ttl ?? defaultTtlMs,
    namespace: params.namespace ?? '',
    operations: [...new Set(named ?? Object.values(callTypes))],
    optIn: params.mode === 'default_off',
    scope: bounds.scope ?? 'team',
    maxEntries: bounds.max_entries ?? 10_000,
    maxBytes: bounds.max_bytes ?? 256 * MiB,
    maxEntryBytes: bounds.max_entry_bytes ?? 4 * MiB,
  }
}

export function cacheWarnings({ cache_params: params }: Written): string[] {
  const { type } = params ?? {}
  if (type === undefined || type === 'local' || type === 'redis') return []
  const instead = 'answers are cached exactly, in memory'
  return [`litellm_settings.cache_params.type: there is no cache of type ${type}; ${instead}`]
}

function redisUrlOf({ type, url, host, port, password }: z.output<typeof cacheParams>) {
  if (type !== undefined && type !== 'redis') return null
  if (url !== undefined) return url
  if (host === undefined) return null
  const credentials = password === undefined || password === '' ? '' : encodeURIComponent(password)
  return `redis://${credentials === '' ? '' : `:${credentials}@`}${host}:${port ?? 6379}`
}
