// Asks billing's admin operations and key look-ups on the bus as a gateway does, without one.
import { createHmac, randomBytes } from 'node:crypto'
import type { Bus } from '@penstock/shared/bus/connect'
import { ask } from '@penstock/shared/bus/request-reply'
import type { KeyFacts } from '@penstock/shared/contracts/access'
import {
  type Actor,
  type AdminOperationName,
  adminOperations,
} from '@penstock/shared/contracts/admin'
import type { AdminOperation } from '@penstock/shared/contracts/admin/operation'
import { channels } from '@penstock/shared/contracts/channels'
import type { z } from 'zod'

export const master: Actor = {
  role: 'master',
  keyId: 'master',
  userId: 'default_user_id',
  teamId: null,
}

type Reply<N extends AdminOperationName> = z.output<(typeof adminOperations)[N]['reply']>

interface Asking {
  /** Default: the master. */
  as?: Actor
  /** The text of the new key, where the operation makes one. Default: a random one. */
  key?: string
}

export interface Admin {
  /** The reply, parsed; the parameters go as they are, for billing to judge. */
  ask<N extends AdminOperationName>(
    operation: N,
    params?: Record<string, unknown>,
    asking?: Asking,
  ): Promise<Reply<N>>
  /** Null: billing knows no such key. */
  lookUp(key: string): Promise<KeyFacts | null>
  /** As a gateway names a key in parameters: `hash:<hex>`. */
  reference(key: string): string
  hashOf(key: string): string
}

const timeoutMs = 20_000

export function createAdmin(bus: Bus, secret = 'secret of the tests'): Admin {
  const hashOf = (text: string) => createHmac('sha256', secret).update(text).digest('hex')
  const secretFingerprint = hashOf('penstock secret fingerprint')
  const { admin, keyLookup } = channels
  return {
    hashOf,
    reference: (key) => `hash:${hashOf(key)}`,
    async ask<N extends AdminOperationName>(
      operation: N,
      params: Record<string, unknown> = {},
      { as = master, key = randomKey() }: Asking = {},
    ) {
      const described: AdminOperation = adminOperations[operation]
      const newKey =
        described.makesKey === undefined
          ? null
          : { secretHash: hashOf(key), keyName: `sk-...${key.slice(-4)}`, secretFingerprint }
      const question = { operation, actor: as, correlationId: 'corr-1', params, newKey }
      const reply = await ask(bus, admin, admin.subject(), question, timeoutMs)
      return described.reply.parse(reply) as Reply<N>
    },
    async lookUp(key) {
      const question = { secretHash: hashOf(key), secretFingerprint }
      const { facts } = await ask(bus, keyLookup, keyLookup.subject(), question, timeoutMs)
      return facts
    },
  }
}

export function randomKey(): string {
  return `sk-${randomBytes(32).toString('base64url')}`
}
