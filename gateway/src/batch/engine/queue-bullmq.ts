// The gateway's way to those who run batches: a word on NATS, because the tables hold everything else,
// and BullMQ's queue for the operator's board, opened when somebody looks at it.
import { setTimeout as sleep } from 'node:timers/promises'
import { broadcast } from '@penstock/shared/bus/broadcast'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { BatchQueue, BatchQueueOptions } from '../queue.ts'
import { openQueue } from './jobs.ts'

/** Redis that is not there is waited for. */
const openLimitMs = 5_000
const closeLimitMs = 2_000

export async function openBatchQueue(options: BatchQueueOptions): Promise<BatchQueue> {
  const { bus, databaseUrl, redisUrl, log } = options
  const tell = async (batchId: string) => broadcast(bus, channels.batchChanged, { batchId })
  const place = { databaseUrl, redisUrl, telemetry: null }
  const open = () =>
    openQueue(place, (err) => log.debug({ err }, 'the queue of batches cannot be reached'))
  let opened: ReturnType<typeof openQueue> | null = null
  return {
    created: tell,
    changed: tell,
    async board() {
      opened ??= open().catch((cause) => {
        opened = null
        throw unreachable(cause)
      })
      const found = await Promise.race([opened, sleep(openLimitMs, null, { ref: false })])
      if (found === null) throw unreachable()
      return found.queue
    },
    async close() {
      const closed = opened?.then((queue) => queue.close()).catch(() => {})
      await Promise.race([closed, sleep(closeLimitMs, undefined, { ref: false })])
    },
  }
}

function unreachable(cause?: unknown): PenstockError {
  const message = 'The queue of batches cannot be reached now.'
  return new PenstockError('service_unavailable', message, { retryAfterMs: 2_000, cause })
}
