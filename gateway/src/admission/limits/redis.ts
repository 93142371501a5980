// The limits of several gateways, counted together in Redis: one round trip for all scopes of a
// request, by the server's clock. A gateway that dies gives its leases back within half a minute.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import { Redis, type Result } from 'ioredis'
import { z } from 'zod'
import {
  type Counted,
  type Limiter,
  type LimitKind,
  type LimitQuestion,
  refused,
  standingOf,
  type Verdict,
} from './limiter.ts'
import { parallelRetryMs } from './memory.ts'
import { renewScript, settleScript, takeScript } from './redis-scripts.ts'
import type { Scope } from './scope.ts'

declare module 'ioredis' {
  interface RedisCommander<Context> {
    penstockTake(...args: (string | number)[]): Result<unknown, Context>
    penstockSettle(...args: (string | number)[]): Result<unknown, Context>
    penstockRenew(...args: (string | number)[]): Result<unknown, Context>
  }
}

export interface RedisLimiterOptions {
  /** `redis://user:password@host:port/db`, or `rediss://`. */
  url: string
  /** What happens when Redis is lost; asked each time. */
  policy(): 'refuse' | 'local'
  /** Counts instead, where the policy is `local`. */
  local: Limiter
  log: Logger
  /** For tests: instead of the server's clock. */
  now?: () => number
}

export interface RedisLimiter extends Limiter {
  /** Whether Redis answers. */
  readonly up: boolean
  /** Requests that were decided without it, so far. */
  readonly decidedWithout: number
}

/** Leases of one request, renewed until it cannot run any longer. */
interface Held {
  keys: string[]
  /** Epoch milliseconds. */
  until: number
}

const commandMs = 250
const connectMs = 2_000
const maxReconnectMs = 1_000
const probeMs = 250
const leaseMs = 30_000
const renewMs = 10_000
/** Leases renewed in one command. */
const renewedAtOnce = 200
const kinds: readonly LimitKind[] = ['requests', 'tokens', 'parallel']
const reply = z.array(z.int())

/** Resolves when Redis is there, or after two seconds without it. @throws Error for an odd URL */
export async function openRedisLimiter(options: RedisLimiterOptions): Promise<RedisLimiter> {
  const { log, local, policy, now = () => 0 } = options
  const clock = options.now ?? Date.now
  const redis = new Redis(options.url, {
    lazyConnect: true,
    connectTimeout: connectMs,
    commandTimeout: commandMs,
    // What cannot be asked now is decided now, by the policy.
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    disableClientInfo: true,
    retryStrategy: (times) => Math.min(times * 100, maxReconnectMs),
    scripts: {
      penstockTake: { lua: takeScript },
      penstockSettle: { lua: settleScript },
      penstockRenew: { lua: renewScript },
    },
  })
  /** By request id, of this gateway. */
  const held = new Map<string, Held>()
  let up = false
  let decidedWithout = 0
  let reason = 'not connected'

  const found = () => {
    if (!up) log.info('Redis answers: limits are counted there')
    up = true
  }
  const lost = (cause: unknown) => {
    reason = cause instanceof Error ? cause.message : String(cause)
    if (up) log.warn({ reason, policy: policy() }, 'Redis is lost: limits are not counted there')
    up = false
  }
  redis.on('ready', found)
  redis.on('error', lost)
  redis.on('close', () => {
    if (up) lost('disconnected')
  })

  const probe = setInterval(() => {
    // After a timeout the connection may still stand.
    if (!up && redis.status === 'ready') redis.ping().then(found, lost)
  }, probeMs)
  const renewal = setInterval(() => {
    // Whoever did not give it back by then never will.
    for (const [id, { until }] of held) if (until <= clock()) held.delete(id)
    renew(redis, held, now(), lost)
  }, renewMs)
  probe.unref()
  renewal.unref()

  function without(question: LimitQuestion): Verdict | Promise<Verdict> {
    decidedWithout += 1
    if (policy() === 'local') return local.take(question)
    const message = 'Limits cannot be counted: Redis does not answer. Try again later.'
    throw new PenstockError('service_unavailable', message, { retryAfterMs: 1_000 })
  }

  async function take(question: LimitQuestion): Promise<Verdict> {
    const { requestId, scopes, tokens, lastsMs } = question
    const keys = scopes.flatMap(keysOf)
    const limits = scopes.flatMap(({ limits: { rpm, tpm, maxParallel } }) => [
      rpm ?? -1,
      tpm ?? -1,
      maxParallel ?? -1,
    ])
    const args = [now(), requestId, tokens, leaseMs, parallelRetryMs, ...limits]
    let answer: number[]
    try {
      answer = reply.parse(await redis.penstockTake(keys.length, ...keys, ...args))
    } catch (cause) {
      lost(cause)
      return without(question)
    }
    const [refusing = 0, kind = 0, wait = 0] = answer
    const rows = scopes.map((_, index) => answer.slice(3 + index * 4, 7 + index * 4))
    const standing = standingOf(scopes, rows.map(countedOf))
    const scope = scopes[refusing - 1]
    if (scope !== undefined) {
      const retryAfterMs = wait < 0 ? null : wait
      return refused({ scope, kind: kinds[kind - 1] ?? 'requests', retryAfterMs }, standing)
    }
    const leases = scopes.filter(({ limits: { maxParallel } }) => maxParallel !== null)
    if (leases.length > 0) {
      held.set(requestId, { keys: leases.map(leasesKey), until: clock() + lastsMs })
    }
    const end = (moreTokens: number, moreRequests: number) => {
      held.delete(requestId)
      if (!up || (moreTokens === 0 && moreRequests === 0 && leases.length === 0)) return
      const slots = rows.map(([, , , slot = 0]) => slot)
      const args = [now(), requestId, moreTokens, moreRequests, ...slots]
      // Where this is lost, the leases expire, and what was charged stands until its minute is over.
      redis.penstockSettle(keys.length, ...keys, ...args).catch(lost)
    }
    return {
      refusal: null,
      standing,
      settle: (took) => end(took === null ? 0 : took - tokens, 0),
      undo: () => end(-tokens, -1),
    }
  }

  await Promise.race([
    redis.connect().catch(lost),
    new Promise((resolve) => setTimeout(resolve, connectMs).unref()),
  ])
  return {
    get up() {
      return up
    },
    get decidedWithout() {
      return decidedWithout
    },
    problems: () => (up || policy() === 'local' ? [] : [`redis: ${reason}`]),
    take: (question) => (up ? take(question) : without(question)),
    async close() {
      clearInterval(probe)
      clearInterval(renewal)
      redis.removeAllListeners()
      redis.disconnect()
      await local.close()
    },
  }
}

/** One hash tag: in a cluster all keys of a request are on one node, and one script reads them. */
function windowKey({ id }: Scope): string {
  return `{penstock-limits}:window:${id}`
}

function leasesKey({ id }: Scope): string {
  return `{penstock-limits}:leases:${id}`
}

function keysOf(scope: Scope): string[] {
  return [windowKey(scope), leasesKey(scope)]
}

function countedOf([requests = 0, tokens = 0, resetMs = 0]: number[]): Counted {
  return { requests, tokens, resetMs }
}

/** All leases that are held here, whether or not Redis has kept them. */
function renew(
  redis: Redis,
  held: ReadonlyMap<string, Held>,
  now: number,
  lost: (cause: unknown) => void,
): void {
  if (redis.status !== 'ready') return
  const leases = [...held].flatMap(([id, { keys }]) => keys.map((key) => ({ id, key })))
  for (let from = 0; from < leases.length; from += renewedAtOnce) {
    const some = leases.slice(from, from + renewedAtOnce)
    const keys = some.map(({ key }) => key)
    const ids = some.map(({ id }) => id)
    redis.penstockRenew(keys.length, ...keys, now, leaseMs, ...ids).catch(lost)
  }
}
