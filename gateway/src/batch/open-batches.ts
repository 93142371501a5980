// What a gateway needs for files and batches: its own few connections to the database, the storage, and
// the way to those who run batches. None of it has to be up when the gateway starts, and what nobody
// asks for is neither loaded nor connected.
import type { BatchQueue, BatchQueueOptions } from './queue.ts'
import type { BatchAccess } from './routes/batch-route.ts'
import type { Storage } from './storage/storage.ts'
import { openBatchDatabase } from './store/database.ts'

export interface BatchOptions {
  databaseUrl: string
  /** Closed with the gateway. */
  storage: Storage
}

export interface Batches extends BatchAccess {
  close(): Promise<void>
}

const connections = 4
const statementTimeoutMs = 10_000

export function openBatches(
  { databaseUrl, storage }: BatchOptions,
  options: Omit<BatchQueueOptions, 'databaseUrl'>,
): Batches {
  const onIdleError = () => options.log.debug('an idle database connection broke')
  const db = openBatchDatabase({ databaseUrl, max: connections, statementTimeoutMs, onIdleError })
  let opened: Promise<BatchQueue> | null = null
  const open = async () => {
    const { openBatchQueue } = await import('./engine/queue-bullmq.ts')
    return openBatchQueue({ ...options, databaseUrl })
  }
  return {
    db,
    storage,
    queue() {
      opened ??= open().catch((error) => {
        opened = null
        throw error
      })
      return opened
    },
    async close() {
      await opened?.then((queue) => queue.close()).catch(() => {})
      await db.destroy()
      storage.close()
    },
  }
}
