// The admin operations on the books: rebuild and correct.
import type { spendOperations } from '@penstock/shared/contracts/admin/spend'
import { costOf, decimalOf, dollarText } from '@penstock/shared/pricing/money'
import type { HandlersOf } from '../access/admin-context.ts'
import { correctSpend } from './correct.ts'
import { rebuildTotals } from './rebuild.ts'

export const spendHandlers: HandlersOf<typeof spendOperations> = {
  'spend.rebuild': async ({ trx, permit, audit }, { dry_run }) => {
    permit(['none'])
    const rebuilt = await rebuildTotals(trx, dry_run)
    if (!dry_run && rebuilt.differing > 0) {
      const { differing, differences } = rebuilt
      await audit({ kind: 'ledger', id: 'totals', before: null, after: { differing, differences } })
    }
    return rebuilt
  },

  'spend.correct': async ({ trx, permit, audit }, { request_id, attempt, amount, reason }) => {
    permit(['none'])
    const size = costOf(1, decimalOf(Math.abs(amount)))
    const correction = amount < 0 ? -size : size
    const asked = { requestId: request_id, attempt, amount: correction, reason }
    const { entryId, before, spend } = await correctSpend(trx, asked)
    await audit({
      kind: 'ledger',
      id: `${request_id}/${attempt}`,
      before: { billed_usd: dollarText(before) },
      after: { billed_usd: dollarText(spend), entry_id: entryId, reason },
    })
    return {
      request_id,
      attempt,
      entry_id: entryId,
      correction_usd: dollarText(correction),
      spend: Number(dollarText(spend)),
      spend_usd: dollarText(spend),
      reason,
    }
  },
}
