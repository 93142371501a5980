// Starts one billing service: record usage, answer about spend, say each second what is wrong.
// Several run side by side; the database keeps them from counting anything twice.
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { connectBus } from '@penstock/shared/bus/connect'
import { startHeartbeat } from '@penstock/shared/bus/heartbeat'
import type { PenstockConfig } from '@penstock/shared/config/config'
import type { Logger } from '@penstock/shared/telemetry/log'
import { startTracing } from '@penstock/shared/telemetry/trace'
import { startAccess } from './access/start-access.ts'
import { answerSpend } from './answer-spend.ts'
import { openDatabase, openDatabasePool } from './database.ts'
import { answerReserve } from './money/answer-reserve.ts'
import { answerAllowances } from './money/draw-allowances.ts'
import { reportSoftBudgets } from './money/report-soft-budgets.ts'
import { reserve } from './money/reserve.ts'
import { startSweep } from './money/sweep.ts'
import { reportUsage } from './report-usage.ts'
import { type Retention, startRetention } from './retention.ts'
import { storeUsage } from './store-usage.ts'
import { consumeUsage } from './usage-consumer.ts'
import { watchDatabase } from './watch-database.ts'

/** What of the config matters here. */
export interface BillingSettings {
  /** An IANA zone: where days, weeks and months of budgets begin. */
  timezone: string
  /** Keep prompts and replies, where neither key nor team says otherwise. */
  retention: Retention
}

export interface BillingOptions {
  natsUrl: string
  databaseUrl: string
  log: Logger
  /** Without a config: budgets by UTC, and everything is kept. */
  settings?: BillingSettings
}

export interface Billing {
  /** Other settings, from now on. */
  reload(settings: BillingSettings): void
  close(): Promise<void>
}

const defaultSettings: BillingSettings = {
  timezone: 'UTC',
  retention: { requestLogMs: null, promptsMs: null },
}

export function settingsOf({ penstock }: PenstockConfig): BillingSettings {
  const { budgets, retention } = penstock
  return { timezone: budgets.timezone, retention }
}

const questionsCloseMs = 2_000

/**
 * The database may be away, then and later: usage waits in its stream until it is back.
 * @throws Error if NATS is not reachable within 30 s.
 */
export async function startBilling({
  natsUrl,
  databaseUrl,
  log,
  settings: given = defaultSettings,
}: BillingOptions): Promise<Billing> {
  let settings = given
  const id = randomUUID()
  const bus = await connectBus({ natsUrl, name: `billing ${id}`, log })
  const tracing = await startTracing('billing')
  // Pools of their own, so that slow questions never keep usage waiting, nor usage a reservation.
  const onIdleError = () => log.debug('an idle database connection broke')
  const books = openDatabase({ databaseUrl, max: 2, statementTimeoutMs: 5_000, onIdleError })
  const questions = openDatabase({ databaseUrl, max: 3, statementTimeoutMs: 8_000, onIdleError })
  const upkeep = openDatabase({ databaseUrl, max: 1, statementTimeoutMs: 60_000, onIdleError })
  const budgets = { databaseUrl, max: 1, statementTimeoutMs: 2_000, onIdleError }
  const reservations = openDatabasePool({ ...budgets, kept: 1 })
  const allowances = openDatabasePool({ ...budgets, kept: 1 })
  const expiries = openDatabase(budgets)

  const watch = await watchDatabase(books)
  const usage = await consumeUsage(bus, log, async (messages) => {
    const startedAt = Date.now()
    const stored = await storeUsage(books, messages)
    reportUsage(log, tracing, stored, startedAt)
    reportSoftBudgets(bus, log, stored.crossings)
  })
  const stopReserving = answerReserve(bus, log, (asked) => reserve(reservations, asked))
  const stopDrawing = answerAllowances(bus, allowances)
  const stopSweep = startSweep(expiries, log, () => bus.connected)
  const stopAnswering = answerSpend(bus, questions, log)
  const access = startAccess({ bus, databaseUrl, log, settings: () => settings, onIdleError })
  const stopHeartbeat = startHeartbeat(bus, 'billing', id, () => {
    const problem = usage.problem ?? watch.problem
    return problem === null ? [] : [`database: ${problem}`]
  })
  const stopRetention = startRetention(upkeep, () => settings.retention, log)
  log.info({ id }, 'billing consumes usage')

  return {
    reload(changed) {
      settings = changed
    },
    async close() {
      stopHeartbeat()
      stopAnswering()
      stopReserving()
      stopDrawing()
      access.stop()
      watch.close()
      await Promise.all([usage.close(), stopSweep()])
      await Promise.race([stopRetention(), sleep(questionsCloseMs, undefined, { ref: false })])
      // A question under way is not worth waiting for.
      const enough = sleep(questionsCloseMs, undefined, { ref: false })
      await Promise.all([
        books.destroy(),
        reservations.end(),
        allowances.end(),
        expiries.destroy(),
        Promise.race([
          Promise.all([questions.destroy(), upkeep.destroy(), access.close()]),
          enough,
        ]),
      ])
      await bus.close()
      await tracing.close()
    },
  }
}
