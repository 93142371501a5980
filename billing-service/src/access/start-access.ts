// Everything of billing that is about keys: whose key it is, the admin API, and the version that tells
// gateways when to forget.
import type { Bus } from '@penstock/shared/bus/connect'
import type { Logger } from '@penstock/shared/telemetry/log'
import { openDatabase } from '../database.ts'
import { announceVersions } from './access-version.ts'
import { answerAdmin } from './answer-admin.ts'
import { answerKeys } from './answer-keys.ts'

export interface AccessOptions {
  bus: Bus
  databaseUrl: string
  log: Logger
  /** Of the config, as they are now. */
  settings(): { timezone: string }
  onIdleError(): void
}

export interface Access {
  /** Takes no more questions. */
  stop(): void
  /** Waits for those under way. */
  close(): Promise<void>
}

/** Two pools of its own: requests wait for the keys' one, and never for a change or a long question. */
export function startAccess(options: AccessOptions): Access {
  const { bus, databaseUrl, log, settings, onIdleError } = options
  const keys = openDatabase({ databaseUrl, max: 2, statementTimeoutMs: 4_000, onIdleError })
  const admin = openDatabase({ databaseUrl, max: 2, statementTimeoutMs: 10_000, onIdleError })
  const versions = announceVersions(bus, keys)
  const stopKeys = answerKeys({ bus, db: keys, log })
  const timezone = () => settings().timezone
  const stopAdmin = answerAdmin({ bus, db: admin, log, versions, timezone })
  return {
    stop() {
      stopKeys()
      stopAdmin()
    },
    async close() {
      versions.close()
      await Promise.all([keys.destroy(), admin.destroy()])
    },
  }
}
