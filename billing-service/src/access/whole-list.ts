// LiteLLM answers some lists whole. One that has become too long for that is refused, with the way
// to read it in pages: nothing is left out in silence.
import { PenstockError } from '@penstock/shared/contracts/errors'

const maxListed = 1_000

export interface Paging {
  /** Absent: all of them. */
  page?: number | undefined
  page_size: number
}

/** Without a page, one row more than may be answered: so `wholeList` sees that there are too many. */
export function windowOf({ page, page_size: size }: Paging): { limit: number; offset: number } {
  if (page === undefined) return { limit: maxListed + 1, offset: 0 }
  return { limit: size, offset: (page - 1) * size }
}

/** @throws PenstockError `invalid_request` naming page */
export function wholeList<T>(rows: readonly T[], { page }: Paging): readonly T[] {
  if (page !== undefined || rows.length <= maxListed) return rows
  const message = `There are more than ${maxListed}: ask for them page by page.`
  throw new PenstockError('invalid_request', message, { param: 'page' })
}
