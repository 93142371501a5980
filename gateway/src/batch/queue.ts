// What the gateway tells those who run batches. Postgres already holds what is told here: a message
// that is lost only means that a runner finds out later, when it next looks for itself.
import type { Bus } from '@penstock/shared/bus/connect'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Queue } from 'bullmq'

export interface BatchQueue {
  /** A batch was made: have its file validated. `traceparent`: of the request that made it. */
  created(batchId: string, traceparent: string | null): Promise<void>
  /** It was paused, resumed or cancelled, or lines of it were put back: look at it anew. */
  changed(batchId: string): Promise<void>
  /** For the queue board. @throws PenstockError `service_unavailable` */
  board(): Promise<Queue>
  close(): Promise<void>
}

/** Of `openBatchQueue(options): Promise<BatchQueue>` in engine/queue-bullmq.ts; no server has to be up. */
export interface BatchQueueOptions {
  bus: Bus
  databaseUrl: string
  /** Null: the jobs are in Postgres. */
  redisUrl: string | null
  log: Logger
}
