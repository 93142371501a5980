// What the routes share: made once in start-gateway.ts, passed down, never global.
import type { Bus } from '@penstock/shared/bus/connect'
import type { FleetView } from '@penstock/shared/bus/fleet-view'
import type { ServicesView } from '@penstock/shared/bus/heartbeat'
import type { PenstockConfig } from '@penstock/shared/config/config'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Tracing } from '@penstock/shared/telemetry/trace'
import type { KeyCache } from './access/key-cache.ts'
import type { ServerSecret } from './access/secret.ts'
import type { Admission } from './admission/admission.ts'
import type { Authenticate } from './auth.ts'
import type { BatchAccess } from './batch/routes/batch-route.ts'
import type { AnswerCache } from './cache/answer-cache.ts'
import type { Dispatcher } from './dispatch.ts'
import type { Idempotency } from './idempotency/idempotency.ts'
import type { LocalSessions } from './local-sessions.ts'
import type { Metrics } from './metrics.ts'
import type { QueuesView } from './queues-view.ts'
import type { Background } from './responses/background.ts'

export interface Gateway {
  /** Replaced on a reload, as is `authenticate`: read them anew for each request. */
  config: PenstockConfig
  bus: Bus
  fleet: FleetView
  services: ServicesView
  dispatcher: Dispatcher
  localSessions: LocalSessions
  queues: QueuesView
  metrics: Metrics
  authenticate: Authenticate
  /** What keys are hashed with; and what is known of them. */
  secret: ServerSecret
  keys: KeyCache
  admission: Admission
  cache: AnswerCache
  idempotency: Idempotency
  /** Responses that are kept, and those that run without a client. */
  background: Background
  /** Null without a database. */
  batch: BatchAccess | null
  tracing: Tracing
  log: Logger
}
