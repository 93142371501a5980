// Offers a request to the queue until the queue has it: a large body by claim check, a second time
// where NATS was being restarted. What the queue confirms is answered, or refused, from then on.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ClaimCheck } from '@penstock/shared/bus/claim-check'
import type { Bus } from '@penstock/shared/bus/connect'
import { encodeEnvelope } from '@penstock/shared/bus/envelope-codec'
import { channels, partitionOf } from '@penstock/shared/contracts/channels'
import { toErrorInfo } from '@penstock/shared/contracts/errors'
import {
  type DialectName,
  type RequestEnvelope,
  requestEnvelope,
} from '@penstock/shared/contracts/request'
import type { z } from 'zod'
import type { QueueHealth } from './queue-health.ts'

/** What a route wants done; the dispatcher adds ids, subjects and the body's place. */
export type NewRequest = Omit<
  RequestEnvelope,
  | 'id'
  | 'gatewayId'
  | 'replyTo'
  | 'body'
  | 'history'
  | 'deadline'
  | 'waitsIn'
  | 'dialect'
  | 'dialectHeaders'
> & {
  id: string
  timeoutMs: number
  /** OpenAI's by default, and no headers. */
  dialect?: DialectName
  dialectHeaders?: Record<string, string>
}

/** The gateway's own note of a request, as far as it is filled in here. */
export interface Offered {
  readonly number: number
  /** The body's place in the object store, once it is there. */
  claim: string | null
  /** Epoch ms at which the queue had it; null: not yet. */
  queuedAt: number | null
}

export type Offer = (
  entry: Offered,
  request: NewRequest,
  body: Uint8Array,
  traceparent: string | null,
) => Promise<void>

/** How long a request is offered to a queue that does not answer, in milliseconds. */
const patienceMs = 20_000
const pauseMs = 250
const nothing = new Uint8Array(0)

export interface OfferOptions {
  bus: Bus
  claims: ClaimCheck
  gatewayId: string
  health: QueueHealth
  /** False once the client has left: then nothing is offered any more. */
  isWanted: (entry: Offered) => boolean
}

/**
 * The offer rejects with a PenstockError (`queue_full`, `service_unavailable`) if the queue does not
 * take the request.
 */
export function createOffer(options: OfferOptions): Offer {
  const { bus, claims, gatewayId, health, isWanted } = options
  return async (entry, request, body, traceparent) => {
    const { timeoutMs, ...known } = request
    const inline = body.length <= claims.inlineLimit
    if (!inline) {
      entry.claim = randomUUID()
      await claims.put(entry.claim, body)
      if (!isWanted(entry)) {
        await claims.remove(entry.claim)
        return
      }
    }
    const envelope: RequestEnvelope = requestEnvelope.parse({
      ...known,
      waitsIn: known.group,
      gatewayId,
      replyTo: channels.frames.subject(gatewayId, entry.number),
      deadline: request.receivedAt + timeoutMs,
      body:
        entry.claim === null
          ? { kind: 'inline' }
          : { kind: 'claim', claim: entry.claim, bytes: body.length },
      history: [],
    } satisfies z.input<typeof requestEnvelope>)
    const subject = channels.requests.subject(partitionOf(request.group))
    const message = encodeEnvelope(envelope, inline ? body : nothing)
    const headers = traceparent === null ? {} : { headers: { traceparent } }
    const giveUpAt = Date.now() + patienceMs
    for (;;) {
      try {
        await bus.publisher.publish(subject, message, { msgId: `${request.id}:0`, ...headers })
        entry.queuedAt = Date.now()
        health.stored()
        return
      } catch (cause) {
        // NATS may be restarting. The message id makes a second copy harmless.
        const isRefused = toErrorInfo(cause).code === 'service_unavailable'
        if (isRefused) health.failed()
        const again = isRefused && Date.now() < giveUpAt
        if (!isWanted(entry)) return
        if (!again) throw cause
        await sleep(pauseMs)
      }
    }
  }
}
