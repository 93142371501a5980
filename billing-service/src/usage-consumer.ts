// Consumes USAGE: messages gather while a transaction is on its way, the next transaction takes
// them all, in the order of the stream, and only after its commit they are acked. While the database
// is away they are kept for a while, then given back to the stream; nothing is lost, and nothing that
// comes twice counts twice.
import { setTimeout as sleep } from 'node:timers/promises'
import { AckPolicy, DeliverPolicy, type JsMsg } from '@nats-io/jetstream'
import { nanos } from '@nats-io/transport-node'
import { createAckLog } from '@penstock/shared/bus/ack-log'
import type { Bus } from '@penstock/shared/bus/connect'
import { pullOptions } from '@penstock/shared/bus/pull'
import { errorCode } from '@penstock/shared/bus/streams'
import { streams } from '@penstock/shared/contracts/channels'
import type { Logger } from '@penstock/shared/telemetry/log'
import { databaseErrorCode, databaseProblem } from './database-error.ts'

export interface UsageConsumer {
  /** Why nothing can be recorded at the moment; null while all is well. */
  readonly problem: string | null
  /** Finishes the transaction under way; what is not stored by then is another service's to do. */
  close(): Promise<void>
}

/** All billing services share this one durable consumer, and so the work. */
const durable = 'billing'
/** Longer than a transaction should ever take. */
const ackWaitMs = 30_000
/** Messages held unacked by all billing services together: this bounds what gathers in memory. */
const maxAckPending = 1_024
/**
 * A full load of messages is stored at once; after a smaller one the next may gather for so long.
 * Few large transactions cost half the processor time of many small ones.
 */
const fullLoad = 256
const gatherMs = 40
/** What one transaction takes on, in bytes of messages. */
const maxBatchBytes = 4 * 1024 * 1024
const firstBackoffMs = 250
const maxBackoffMs = 5_000
/**
 * While storing fails, messages are kept for so long before the stream gets them back: another service
 * may reach the database. Well below the ack wait, after which it would hand them out once more.
 */
const defaultHoldMs = 10_000
/** While storing keeps failing, it fails more often than this. */
const problemLastsMs = 4 * maxBackoffMs
/** "consumer already exists" and "consumer name already in use" (nats-server `errors.json`). */
const consumerDiffers = new Set([10_148, 10_013])

/**
 * @param store stores messages, all of them or, if it throws, none; called one at a time. They come in
 *   the order of the stream: of two events of one attempt the first one counts, and an `interrupted`
 *   must not get ahead of the `success` that its worker had stored before it died.
 * @param holdMs how long messages that cannot be stored are kept before they are given back
 */
export async function consumeUsage(
  bus: Bus,
  log: Logger,
  store: (messages: Uint8Array[]) => Promise<void>,
  holdMs = defaultHoldMs,
): Promise<UsageConsumer> {
  const stopping = new AbortController()
  const acks = createAckLog(bus)
  /** Neither stored nor given back; a batch stays at its front until it is stored. */
  let gathered: JsMsg[] = []
  let working: Promise<void> | null = null
  let problem: string | null = null
  let failedAt = 0
  let backoffMs = firstBackoffMs
  /** When storing began to fail what is held now; null: it does not fail. */
  let heldSince: number | null = null

  async function work(): Promise<void> {
    while (gathered.length > 0 && !stopping.signal.aborted) {
      const batch = nextBatch()
      try {
        await store(batch.map((msg) => msg.data))
        // What came meanwhile stands behind the batch.
        gathered = gathered.slice(batch.length)
        for (const msg of batch) acks.ack(msg)
        succeeded()
        if (gathered.length < fullLoad) await rest(gatherMs)
      } catch (error) {
        failed(error)
        heldSince ??= performance.now()
        if (performance.now() - heldSince >= holdMs) giveBack()
        await rest(backoffMs)
        backoffMs = Math.min(backoffMs * 2, maxBackoffMs)
      }
    }
    working = null
  }

  /** Ends early when the service is told to stop. */
  function rest(ms: number): Promise<void> {
    return sleep(ms, undefined, { signal: stopping.signal }).catch(() => {})
  }

  function nextBatch(): JsMsg[] {
    // What was given back comes again behind what was on its way at that moment.
    gathered.sort((a, b) => a.seq - b.seq)
    let bytes = 0
    let count = 0
    for (const msg of gathered) {
      bytes += msg.data.length
      if (count > 0 && bytes > maxBatchBytes) break
      count += 1
    }
    return gathered.slice(0, count)
  }

  /** All at once, oldest first: the stream hands them out again in this order, before any other. */
  function giveBack(): void {
    gathered.sort((a, b) => a.seq - b.seq)
    for (const msg of gathered) msg.nak()
    gathered = []
    heldSince = null
  }

  function succeeded(): void {
    backoffMs = firstBackoffMs
    heldSince = null
    if (problem === null) return
    problem = null
    log.info('usage is being recorded again')
  }

  /** Said once per outage (and again when its reason changes), not once per retry. */
  function failed(error: unknown): void {
    failedAt = Date.now()
    const reason = databaseProblem(error)
    if (reason === problem) return
    problem = reason
    log.error({ problem, code: databaseErrorCode(error) }, 'cannot record usage, trying again')
  }

  await ensureConsumer(bus)
  bus.onStoreLost(async () => {
    try {
      await ensureConsumer(bus)
    } catch (cause) {
      log.error({ err: cause }, 'cannot take usage yet')
      throw cause
    }
  })
  const consumer = await bus.js.consumers.get(streams.usage.name, durable)
  const messages = await consumer.consume({
    ...pullOptions,
    max_messages: maxAckPending,
    callback: (msg) => {
      gathered.push(msg)
      working ??= work()
    },
  })

  return {
    get problem() {
      // What failed here may since have been stored by another service: then nothing comes back.
      return Date.now() - failedAt < problemLastsMs ? problem : null
    },
    async close() {
      stopping.abort()
      await messages.close()
      await working
      giveBack()
    },
  }
}

async function ensureConsumer(bus: Bus): Promise<void> {
  const changeable = { ack_wait: nanos(ackWaitMs), max_ack_pending: maxAckPending }
  const config = {
    durable_name: durable,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ...changeable,
  }
  try {
    await bus.jsm.consumers.add(streams.usage.name, config)
  } catch (error) {
    // Left by a version of other figures.
    if (!consumerDiffers.has(errorCode(error) ?? 0)) throw error
    await bus.jsm.consumers.update(streams.usage.name, durable, changeable)
  }
}
