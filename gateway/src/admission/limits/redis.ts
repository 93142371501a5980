// The limits of several gateways, counted together in Redis: one round trip for all scopes of a
// request, by the server's clock. A gateway that dies gives its leases back within half a minute.
// What was not answered in time is decided without Redis, and taken back there when it answers.
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
import { createRedisLeases, leaseMs } from './redis-leases.ts'
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

const answerMs = 250
/** A connection that is silent for so long is made anew. */
const silenceMs = 5_000
const connectMs = 2_000
const maxReconnectMs = 1_000
const probeMs = 250
const kinds: readonly LimitKind[] = ['requests', 'tokens', 'parallel']
const reply = z.array(z.int())

/** Resolves when Redis is there, or after two seconds without it. @throws Error for an odd URL */
export async function openRedisLimiter(options: RedisLimiterOptions): Promise<RedisLimiter> {
  const { log, local, policy, now = () => 0 } = options
  const clock = options.now ?? Date.now
  const redis = new Redis(options.url, {
    lazyConnect: true,
    connectTimeout: connectMs,
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
  let up = false
  let decidedWithout = 0
  let reason = 'not connected'

  const found = () => {
    if (up) return
    log.info('Redis answers: limits are counted there')
    up = true
    leases.catchUp()
  }
  const lost = (cause: unknown) => {
    reason = cause instanceof Error ? cause.message : String(cause)
    if (up) log.warn({ reason, policy: policy() }, 'Redis is lost: limits are not counted there')
    up = false
  }
  const leases = createRedisLeases({ redis, isUp: () => up, lost, clock, now })
  redis.on('ready', found)
  redis.on('error', lost)
  redis.on('close', () => {
    if (up) lost('disconnected')
  })

  let closed = false
  let probing = false
  const probe = setInterval(() => {
    // After a timeout the connection may still stand.
    if (up || probing || redis.status !== 'ready') return
    probing = true
    const asked = redis.ping()
    // One that answers late each time would keep every request waiting for nothing.
    inTime(asked, answerMs).then(found, lost)
    // Even a refusal is an answer: then the connection is not the fault.
    inTime(
      asked.catch(() => {}),
      silenceMs,
    )
      .catch(() => {
        if (!closed && redis.status === 'ready') redis.disconnect(true)
      })
      .finally(() => {
        probing = false
      })
  }, probeMs)
  probe.unref()

  function without(question: LimitQuestion): Verdict | Promise<Verdict> {
    decidedWithout += 1
    if (policy() === 'local') return local.take(question)
    const message = 'Limits cannot be counted: Redis does not answer. Try again later.'
    throw new PenstockError('service_unavailable', message, { retryAfterMs: 1_000 })
  }

  async function take(question: LimitQuestion): Promise<Verdict> {
    const { requestId, scopes, tokens } = question
    const keys = scopes.flatMap(keysOf)
    const limits = scopes.flatMap(({ limits: { rpm, tpm, maxParallel } }) => [
      rpm ?? -1,
      tpm ?? -1,
      maxParallel ?? -1,
    ])
    const args = [now(), requestId, tokens, leaseMs, parallelRetryMs, ...limits]
    const asked = redis.penstockTake(keys.length, ...keys, ...args)
    try {
      return verdictOf(question, keys, reply.parse(await inTime(asked, answerMs)))
    } catch (cause) {
      lost(cause)
      asked
        .then((late) => verdictOf(question, keys, reply.parse(late), () => true).undo())
        .catch(() => leases.owe(requestId, leasesOf(scopes)))
      return without(question)
    }
  }

  /** @param hears whether Redis can be told how the request ends */
  function verdictOf(
    question: LimitQuestion,
    keys: string[],
    answer: number[],
    hears = () => up,
  ): Verdict {
    const { requestId, scopes, tokens, lastsMs } = question
    const [refusing = 0, kind = 0, wait = 0] = answer
    const rows = scopes.map((_, index) => answer.slice(3 + index * 4, 7 + index * 4))
    const standing = standingOf(scopes, rows.map(countedOf))
    const scope = scopes[refusing - 1]
    if (scope !== undefined) {
      const retryAfterMs = wait < 0 ? null : wait
      return refused({ scope, kind: kinds[kind - 1] ?? 'requests', retryAfterMs }, standing)
    }
    const taken = leasesOf(scopes)
    if (taken.length > 0) leases.hold(requestId, taken, clock() + lastsMs)
    const end = (moreTokens: number, moreRequests: number) => {
      leases.drop(requestId)
      if (moreTokens === 0 && moreRequests === 0 && taken.length === 0) return
      // Without Redis what was charged stands until its minute is over.
      if (!hears()) {
        leases.owe(requestId, taken)
        return
      }
      const slots = rows.map(([, , , slot = 0]) => slot)
      const args = [now(), requestId, moreTokens, moreRequests, ...slots]
      redis.penstockSettle(keys.length, ...keys, ...args).catch((cause) => {
        lost(cause)
        leases.owe(requestId, taken)
      })
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
      closed = true
      clearInterval(probe)
      leases.close()
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

function leasesOf(scopes: readonly Scope[]): string[] {
  return scopes.filter(({ limits }) => limits.maxParallel !== null).map(leasesKey)
}

function keysOf(scope: Scope): string[] {
  return [windowKey(scope), leasesKey(scope)]
}

function countedOf([requests = 0, tokens = 0, resetMs = 0]: number[]): Counted {
  return { requests, tokens, resetMs }
}

/**
 * The answer, or an Error if it is not there in time. Where this process itself stood still, it lies in
 * the socket when the time is over, and is read first.
 */
function inTime<T>(answer: Promise<T>, ms: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Error(`no answer within ${ms} ms`))
    const timer = setTimeout(() => setImmediate(late), ms)
    answer.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
