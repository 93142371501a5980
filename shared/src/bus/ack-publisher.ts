// Publishes to JetStream and resolves when the server has stored the message. It does what the
// client library's `publish` does with one subscription and one timer for all messages instead of
// a timer and a promise chain each: this runs three times per request.
import { headers, type NatsConnection, nuid } from '@nats-io/transport-node'
import { ChurnMap } from '../churn-map.ts'
import { PenstockError } from '../contracts/errors.ts'
import type { Outbox } from './outbox.ts'

export interface AckPublisher {
  /**
   * @param msgId a republish with the same id within the stream's duplicate window is harmless.
   * @throws PenstockError `queue_full` when the stream refuses, `service_unavailable` when no ack
   *   comes in time (5 s) or the connection is closed.
   */
  publish(subject: string, data: Uint8Array, options: PublishOptions): Promise<void>
  /** The connection broke meanwhile: what was not confirmed by now will never be. */
  reconnected(): void
  close(): void
}

export interface PublishOptions {
  msgId?: string
  /** Extra message headers: the W3C trace context. */
  headers?: Record<string, string>
}

interface Pending {
  resolve(): void
  reject(error: Error): void
  expires: number
}

const ackTimeoutMs = 5_000
/** "maximum bytes exceeded", "maximum messages exceeded" (nats-server `errors.json`). */
const streamFull = new Set([10_047, 10_077])

export function createAckPublisher(nc: NatsConnection, outbox: Outbox): AckPublisher {
  const prefix = `_INBOX.${nuid.next()}`
  const pending = new ChurnMap<string, Pending>()
  let counter = 0

  const sub = nc.subscribe(`${prefix}.*`, {
    callback: (error, msg) => {
      if (error !== null) return
      const token = msg.subject.slice(prefix.length + 1)
      const waiting = pending.get(token)
      if (waiting === undefined) return
      pending.delete(token)
      if (msg.headers?.code === 503) {
        waiting.reject(unavailable('JetStream does not answer: the stream may be missing.'))
        return
      }
      const reply = msg.string()
      // The server's own ack is `{"stream":…,"seq":…}`; only a refusal needs a closer look.
      if (reply.includes('"error"')) waiting.reject(refusal(reply))
      else waiting.resolve()
    },
  })

  const sweep = setInterval(() => {
    const now = Date.now()
    // The oldest come first and every entry waits equally long: stop at the first young one.
    for (const token of pending.keys()) {
      const waiting = pending.get(token)
      if (waiting === undefined || waiting.expires > now) break
      pending.delete(token)
      waiting.reject(unavailable('The message queue did not confirm the message in time.'))
    }
  }, 250)
  sweep.unref()

  const rejectAll = (reason: string) => {
    const unconfirmed = [...pending.values()]
    pending.clear()
    for (const waiting of unconfirmed) waiting.reject(unavailable(reason))
  }

  return {
    reconnected: () => rejectAll('The connection to the message queue broke.'),
    publish(subject, data, options) {
      return new Promise((resolve, reject) => {
        const token = (counter++).toString(36)
        pending.set(token, { resolve, reject, expires: Date.now() + ackTimeoutMs })
        const reply = `${prefix}.${token}`
        const extra = messageHeaders(options)
        outbox.publish(
          subject,
          data,
          extra === null ? { reply } : { reply, headers: extra },
          (cause) => {
            pending.delete(token)
            reject(unavailable('The message queue is not connected.', cause))
          },
        )
      })
    },
    close() {
      clearInterval(sweep)
      sub.unsubscribe()
      rejectAll('Shutting down.')
    },
  }
}

function messageHeaders(options: PublishOptions) {
  if (options.msgId === undefined && options.headers === undefined) return null
  const all = headers()
  if (options.msgId !== undefined) all.set('Nats-Msg-Id', options.msgId)
  for (const [name, value] of Object.entries(options.headers ?? {})) all.set(name, value)
  return all
}

function unavailable(message: string, cause?: unknown): PenstockError {
  return new PenstockError('service_unavailable', message, { cause })
}

function refusal(reply: string): PenstockError {
  const parsed = JSON.parse(reply) as { error?: { err_code?: number; description?: string } }
  if (streamFull.has(parsed.error?.err_code ?? 0)) {
    return new PenstockError('queue_full', 'The request queue is full. Try again later.', {
      retryAfterMs: 1_000,
    })
  }
  return unavailable(`The message queue refused: ${parsed.error?.description ?? 'no reason given'}`)
}
