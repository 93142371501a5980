// Requests that need not run anew: those with an Idempotency-Key, and those that the cache may answer.
// For the client they take the way of all others; admission and dispatch come behind, and only where a
// request really runs. What is reused takes nothing of limits and budgets, because it uses nothing.
import { toErrorInfo } from '@penstock/shared/contracts/errors'
import type { Operation } from '@penstock/shared/contracts/request'
import { parseFields } from '@penstock/shared/parse-fields'
import { dollarText } from '@penstock/shared/pricing/money'
import type { Request } from 'express'
import { z } from 'zod'
import type { Admitted } from './admission/admission.ts'
import type { Headers } from './admission/standing-headers.ts'
import type { AnswerSink } from './answer.ts'
import type { Identity } from './auth.ts'
import { type CacheControl, cacheControlOf, cacheField } from './cache/cache-control.ts'
import { cacheKeyOf } from './cache/cache-key.ts'
import type { Start } from './cache/flight.ts'
import { recordHit } from './cache/hit-usage.ts'
import type { Dispatcher } from './dispatch.ts'
import type { Gateway } from './gateway.ts'
import { digestOf, idempotencyKeyOf } from './idempotency/idempotency.ts'
import type { NewRequest } from './offer.ts'

export interface Reuse {
  /** In the place of the real one, which is asked for only where the request runs. */
  admitted: Admitted
  send: Dispatcher['send']
}

export interface ReuseQuestion {
  req: Request
  operation: Operation
  identity: Identity
  /** The body's fields as the client sent them. */
  fields: object
  /** Where fallbacks may lead; null: anywhere. */
  allowedGroups: string[] | null
  /** Lets the request run, once it has to. */
  admit(): Admitted | Promise<Admitted>
}

type CacheSettings = NonNullable<Gateway['config']['cache']>

const bodyWithControl = z.looseObject({ cache: cacheField.nullish() })

/**
 * Null, at no cost: the request runs as it is.
 * @throws PenstockError `invalid_request`
 */
export function planReuse(gateway: Gateway, question: ReuseQuestion): Reuse | null {
  const idempotencyKey = idempotencyKeyOf(question.req)
  const settings = gateway.config.cache
  const control = settings === null ? null : controlOf(settings, question)
  if (idempotencyKey === null && control === null) return null

  let ran: Admitted | null = null
  let cacheKey: string | null = null

  function begin(request: NewRequest, body: Uint8Array, traceparent: string | null): Start {
    return (sink) => {
      let isWithdrawn = false
      let stop = () => {}
      const run = async () => {
        const admitted = await question.admit()
        if (isWithdrawn) {
          admitted.settled({ kind: 'unsent' })
          return
        }
        ran = admitted
        const { allowedGroups, answerLimit } = admitted
        const cancel = gateway.dispatcher.send(
          { ...request, allowedGroups, answerLimit },
          body,
          settling(sink, admitted),
          traceparent,
        )
        stop = () => {
          cancel()
          admitted.settled({ kind: 'left' })
        }
      }
      run().catch((cause) => {
        const info = toErrorInfo(cause)
        const { correlationId } = request
        if (info.code === 'internal_error') {
          gateway.log.error({ err: cause, correlationId }, 'request failed')
        }
        sink.onError(info)
      })
      return () => {
        isWithdrawn = true
        stop()
      }
    }
  }

  function throughCache(
    start: Start,
    { settings, control }: { settings: CacheSettings; control: CacheControl },
    request: NewRequest,
    body: Buffer,
  ): Start {
    const { operation, dialect = 'chat', model, local, stream, allowedGroups } = request
    const { dialectHeaders: headers = {} } = request
    const key = cacheKeyOf(
      {
        scope: cacheScope(question.identity, settings),
        namespaces: [settings.namespace, control.namespace],
        operation,
        dialect,
        headers,
        model,
        local,
        stream,
        allowedGroups,
        hasBudget: (question.identity.facts?.accounts.length ?? 0) > 0,
      },
      body,
    )
    cacheKey = key
    return (sink) => {
      const answered = recording(sink, (head) => {
        if (ran === null && head !== null) recordHit(gateway, request, head)
      })
      return gateway.cache.run({ key, control, settings, stream }, { sink: answered, start })
    }
  }

  return {
    admitted: {
      allowedGroups: question.allowedGroups,
      answerLimit: null,
      headers: (head, end) => {
        const cached: Headers = cacheKey === null ? [] : [['cache-key', cacheKey]]
        if (ran !== null) {
          if (cacheKey !== null) cached.push(['cache', 'miss'])
          return [...ran.headers(head, end), ...cached]
        }
        cached.push(cacheKey === null ? ['idempotent-replay', 'true'] : ['cache', 'hit'])
        return [['response-cost', dollarText(0n)], ...cached]
      },
      settled() {},
    },
    send(request, body, sink, traceparent) {
      const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
      const own = begin(request, body, traceparent)
      const isCached = settings !== null && control !== null
      const start: Start = (to) =>
        isCached ? throughCache(own, { settings, control }, request, bytes)(to) : own(to)
      if (idempotencyKey === null) return start(sink)
      const { operation, dialect = 'chat', requestedModel, caller, stream } = request
      const { receivedAt, timeoutMs } = request
      return gateway.idempotency.run(
        {
          id: digestOf(caller.keyId ?? '', idempotencyKey),
          // The model may stand in the path alone.
          fingerprint: digestOf(operation, dialect, requestedModel, bytes),
          stream,
          deadline: receivedAt + timeoutMs,
        },
        { sink, start },
      )
    },
  }
}

/** Null: neither read nor kept. */
function controlOf(settings: CacheSettings, question: ReuseQuestion): CacheControl | null {
  if (!settings.operations.includes(question.operation)) return null
  const { cache } = parseFields(bodyWithControl, question.fields, 'request')
  const control = cacheControlOf(cache, settings.optIn)
  return control.reads || control.stores ? control : null
}

/** Whose answers are shared. The master key and an open gateway have one cache each. */
function cacheScope({ caller }: Identity, { scope }: CacheSettings): string {
  if (scope === 'global') return ''
  if (scope === 'team' && caller.teamId !== null) return `team:${caller.teamId}`
  return `key:${caller.keyId ?? ''}`
}

function settling(sink: AnswerSink, admitted: Admitted): AnswerSink {
  return {
    onQueued: (position) => sink.onQueued(position),
    onData: (head, data) => sink.onData(head, data),
    onEnd(head, data, end) {
      admitted.settled({ kind: 'answered', end })
      sink.onEnd(head, data, end)
    },
    onError(error) {
      admitted.settled({ kind: 'failed', error })
      sink.onError(error)
    },
  }
}

/** @param onEnd told of the head when the answer is complete */
function recording(
  sink: AnswerSink,
  onEnd: (head: Parameters<AnswerSink['onData']>[0]) => void,
): AnswerSink {
  let seen: Parameters<AnswerSink['onData']>[0] = null
  return {
    onQueued: (position) => sink.onQueued(position),
    onError: (error) => sink.onError(error),
    onData(head, data) {
      seen = head ?? seen
      sink.onData(head, data)
    },
    onEnd(head, data, end) {
      sink.onEnd(head, data, end)
      onEnd(head ?? seen)
    },
  }
}
