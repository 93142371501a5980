// What the parts of a runner share: made once in start-batch-runner.ts, passed down.
import type { FleetView } from '@penstock/shared/bus/fleet-view'
import type { PenstockConfig } from '@penstock/shared/config/config'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Tracing } from '@penstock/shared/telemetry/trace'
import type { Kysely } from 'kysely'
import type { KeyCache } from '../../access/key-cache.ts'
import type { Admission } from '../../admission/admission.ts'
import type { Dispatcher } from '../../dispatch.ts'
import type { LocalSessions } from '../../local-sessions.ts'
import type { Storage } from '../storage/storage.ts'
import type { BatchDatabase } from '../store/database.ts'
import type { InFlight, Room } from './in-flight.ts'
import type { LiveBatch } from './live-batch.ts'
import type { ResultWriter } from './results.ts'
import type { RetryPolicy } from './retry.ts'

export interface Runner {
  /** Replaced on a reload: read it anew for each line. */
  config: PenstockConfig
  db: Kysely<BatchDatabase>
  storage: Storage
  fleet: FleetView
  dispatcher: Dispatcher
  admission: Admission
  localSessions: LocalSessions
  keys: KeyCache
  inFlight: InFlight
  /** Bytes of input files that are held for slices in work which are one long line. */
  inputRoom: Room
  results: ResultWriter
  retry: RetryPolicy
  tracing: Tracing
  /** The batch as it is now; null: it is over. @throws PenstockError `service_unavailable` */
  batch(batchId: string): Promise<LiveBatch | null>
  /** So far, by this runner. */
  counts: LineCounts
  log: Logger
}

export interface LineCounts {
  completed: number
  failed: number
  dead: number
}
