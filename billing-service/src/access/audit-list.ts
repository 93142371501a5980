// GET /audit: who changed what, newest first, a page at a time.
import type { budgetOperations } from '@penstock/shared/contracts/admin/budgets'
import type { Selectable } from 'kysely'
import type { AuditLogTable } from '../access-tables.ts'
import type { HandlersOf } from './admin-context.ts'

/** A page travels in one NATS message (1 MB by default), with room to spare for its frame. */
const maxPageBytes = 768 * 1024

type ListAudit = HandlersOf<typeof budgetOperations>['audit.list']

export const listAudit: ListAudit = async ({ trx, permit }, params) => {
  permit(['none'])
  let select = trx.selectFrom('audit_log').selectAll()
  if (params.object_kind !== undefined) {
    select = select.where('object_kind', '=', params.object_kind)
  }
  if (params.object_id !== undefined) select = select.where('object_id', '=', params.object_id)
  if (params.since !== undefined) select = select.where('at', '>=', new Date(params.since))
  if (params.cursor !== undefined) select = select.where('id', '<', params.cursor)
  const rows = await select
    .orderBy('id', 'desc')
    .limit(params.limit + 1)
    .execute()
  return page(rows, params.limit)
}

/** Fewer than asked for where a message cannot carry more. */
function page(rows: readonly Selectable<AuditLogTable>[], limit: number) {
  const data: ReturnType<typeof entryOf>[] = []
  let bytes = 0
  for (const row of rows) {
    const entry = entryOf(row)
    bytes += Buffer.byteLength(JSON.stringify(entry)) + 1
    const last = data.at(-1)
    if (last !== undefined && (data.length === limit || bytes > maxPageBytes)) {
      return { data, next_cursor: last.id }
    }
    data.push(entry)
  }
  return { data, next_cursor: null }
}

function entryOf({ at, ...row }: Selectable<AuditLogTable>) {
  return { ...row, at: at.toISOString() }
}
