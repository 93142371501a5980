// The gateway's way to those who run batches: a word on NATS, because the tables hold everything else,
// and BullMQ's queue for the operator's board, opened when somebody looks at it.
import { broadcast } from '@penstock/shared/bus/broadcast'
import { channels } from '@penstock/shared/contracts/channels'
import type { Queue } from 'bullmq'
import type { BatchQueue, BatchQueueOptions } from '../queue.ts'
import { openQueue } from './jobs.ts'

export async function openBatchQueue(options: BatchQueueOptions): Promise<BatchQueue> {
  const { bus, databaseUrl, redisUrl, log } = options
  let board: Queue | null = null
  const tell = async (batchId: string) => broadcast(bus, channels.batchChanged, { batchId })
  return {
    created: tell,
    changed: tell,
    get board() {
      board ??= openQueue({ databaseUrl, redisUrl, telemetry: null }, (err) =>
        log.debug({ err }, 'the queue of batches cannot be reached'),
      )
      return board
    },
    async close() {
      await board?.close().catch(() => {})
    },
  }
}
