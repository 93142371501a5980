// Answers the operations of the admin API: parameters, policy, handler and audit, in one transaction.
// A change counts the access version up; once it is committed, the gateways are told.
import type { Bus } from '@penstock/shared/bus/connect'
import { answer } from '@penstock/shared/bus/request-reply'
import { type AdminQuestion, adminOperations } from '@penstock/shared/contracts/admin'
import type { AdminOperation } from '@penstock/shared/contracts/admin/operation'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { Kysely } from 'kysely'
import type { z } from 'zod'
import type { Database } from '../database.ts'
import { bumpVersion, type VersionAnnouncer } from './access-version.ts'
import type { AdminContext, AdminTransaction } from './admin-context.ts'
import { writeAudit } from './audit.ts'
import { explained, isPassing } from './explained.ts'
import { adminHandlers } from './handlers.ts'
import { mayDo } from './policy.ts'

export interface AnswerAdminOptions {
  bus: Bus
  db: Kysely<Database>
  log: Logger
  versions: Pick<VersionAnnouncer, 'changed'>
  /** The config's, as it is now: of budgets that name none. */
  timezone(): string
}

/** Deadlocks with settlements are rare, and one of the two always gets through. */
const maxTries = 4
/** A reply is one NATS message (1 MB by default). */
const maxReplyBytes = 960 * 1024

/** @returns stop */
export function answerAdmin(options: AnswerAdminOptions): () => void {
  const { admin } = channels
  const asked = async (question: AdminQuestion) => {
    try {
      return await perform(options, question)
    } catch (error) {
      throw explained(error, question.operation, options.log)
    }
  }
  const sub = answer(options.bus, admin, admin.subject(), asked, 'billing')
  return () => sub.unsubscribe()
}

async function perform(options: AnswerAdminOptions, question: AdminQuestion): Promise<unknown> {
  const described: AdminOperation = adminOperations[question.operation]
  const params = parse(described.params, question.params)
  for (let tries = 1; ; tries += 1) {
    try {
      return await performOnce(options, question, described, params)
    } catch (error) {
      if (tries >= maxTries || !isPassing(error)) throw error
    }
  }
}

/** @throws PenstockError `invalid_request` naming the parameter */
function parse(schema: z.ZodType, given: unknown): unknown {
  const parsed = schema.safeParse(given)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = issue?.code === 'unrecognized_keys' ? issue.keys : (issue?.path ?? [])
  const param = path.map(String).join('.')
  const message = `Invalid request: ${param}: ${issue?.message ?? 'invalid'}`
  throw new PenstockError('invalid_request', message, { param })
}

async function performOnce(
  { db, log, versions, timezone }: AnswerAdminOptions,
  { operation, actor, correlationId, newKey }: AdminQuestion,
  { method, leavesAccess }: AdminOperation,
  params: unknown,
): Promise<unknown> {
  // The table gives each operation the handler of its own parameters, which its schema has parsed.
  const handler = adminHandlers[operation] as (
    context: AdminContext,
    params: unknown,
  ) => Promise<unknown>
  const isChange = method === 'post' && leavesAccess !== true
  let version: number | null = null
  const inTransaction = async (trx: AdminTransaction) => {
    version = isChange ? await bumpVersion(trx) : null
    let isPermitted = false
    const reply = await handler(
      {
        trx,
        actor,
        operation,
        newKey,
        timezone: timezone(),
        permit(held) {
          if (!mayDo(actor.role, operation, held)) throw denied(operation)
          isPermitted = true
        },
        audit: (entry) => writeAudit(trx, actor, operation, correlationId, entry),
      },
      params,
    )
    if (!isPermitted) throw new TypeError(`${operation} asked for no permission`)
    // What cannot be answered is not done either.
    return bounded(reply)
  }
  const transaction = db.transaction().setAccessMode(method === 'get' ? 'read only' : 'read write')
  const reply = await transaction.execute(inTransaction)
  if (version !== null) versions.changed(version)
  if (method === 'post') {
    const { role, keyId, userId } = actor
    log.info({ operation, role, keyId, userId, correlationId }, 'admin operation')
  }
  return reply
}

function denied(operation: string): PenstockError {
  return new PenstockError('permission_denied', `This key may not do ${operation} here.`)
}

function bounded(reply: unknown): unknown {
  if (Buffer.byteLength(JSON.stringify(reply ?? null)) <= maxReplyBytes) return reply
  const message = 'The answer is too large for one message: ask for fewer objects at a time.'
  throw new PenstockError('invalid_request', message)
}
