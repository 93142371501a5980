// THE table of admin operations, and the one channel they travel on: who asks, what, with which
// parameters. Billing decides what the asker may do; a gateway only says who it is.
import { z } from 'zod'
import { secretFingerprint } from './access.ts'
import { budgetOperations } from './admin/budgets.ts'
import { keyOperations } from './admin/keys.ts'
import { spendOperations } from './admin/spend.ts'
import { teamOperations } from './admin/teams.ts'
import { userOperations } from './admin/users.ts'

export const adminOperations = {
  ...keyOperations,
  ...teamOperations,
  ...userOperations,
  ...budgetOperations,
  ...spendOperations,
}
export type AdminOperationName = keyof typeof adminOperations

const names = Object.keys(adminOperations) as [AdminOperationName, ...AdminOperationName[]]

/** `master`: the master key, or an open gateway on loopback. `key`: a virtual key's holder. */
export const actor = z.object({
  role: z.enum(['master', 'key']),
  keyId: z.string().nullable(),
  userId: z.string().nullable(),
  teamId: z.string().nullable(),
})
export type Actor = z.infer<typeof actor>

/** A key that the gateway has just made, or was given: its hash, and how lists show it. */
export const newKey = z.object({
  secretHash: z.string().regex(/^[0-9a-f]{64}$/),
  /** `sk-...wXyZ` */
  keyName: z.string(),
  /** Of the server's secret that the hash was made with; see `secretFingerprint` in access.ts. */
  secretFingerprint,
})
export type NewKey = z.infer<typeof newKey>

export const adminQuestion = z.object({
  operation: z.enum(names),
  actor,
  correlationId: z.string(),
  params: z.unknown(),
  newKey: newKey.nullable(),
})
export type AdminQuestion = z.infer<typeof adminQuestion>
