// What an admin operation is: a route of LiteLLM's admin API and a question on the bus, described
// once. The gateway mounts the table, billing answers it; a new operation is one line and a handler.
import type { z } from 'zod'

export interface AdminOperation<P extends z.ZodType = z.ZodType, R extends z.ZodType = z.ZodType> {
  method: 'get' | 'post'
  /** `/key/generate`; LiteLLM's. */
  path: string
  /** The same at a second path; a parameter in it (`/key/:key/regenerate`) joins the others. */
  alsoAt?: string
  /** The body of a POST, the query string of a GET. */
  params: P
  reply: R
  /** A POST that changes nothing about keys, teams, users and budgets. A GET changes nothing at all. */
  leavesAccess?: true
  /**
   * Parameters that hold a key, or a list of keys, as its holder knows it. The gateway puts a reference
   * in its place: `hash:<hex>` for a key, the text itself for a key's id.
   */
  keyParams?: readonly string[]
  /**
   * The gateway makes a new key, or takes the one in the parameter that is named here and keeps it
   * back, and shows it once in the reply.
   */
  makesKey?: 'key' | 'new_key'
}

/** For its types: the operation as it is. */
export function operation<P extends z.ZodType, R extends z.ZodType>(
  described: AdminOperation<P, R>,
): AdminOperation<P, R> {
  return described
}
