// Who is asking: the master key, a virtual key, or anybody of this machine where the gateway is open.
// What is remembered is answered at once; only a key not met lately makes a request wait.
//
// Keys are compared as HMAC digests alone, so that no comparison takes longer the more of a key is right.
import type { IncomingMessage } from 'node:http'
import type { KeyFacts } from '@penstock/shared/contracts/access'
import type { Actor } from '@penstock/shared/contracts/admin'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Caller } from '@penstock/shared/contracts/request'
import type { KeyCache } from './access/key-cache.ts'
import { isKeyText, presentedKey } from './access/key-texts.ts'
import type { ServerSecret } from './access/secret.ts'
import { refuseForeign } from './loopback.ts'

export interface Identity {
  caller: Omit<Caller, 'endUser'>
  /** The master key, or an open gateway: may use every route and every model. */
  admin: boolean
  /** The same to billing, which decides about the operations of the admin API. */
  actor: Actor
  /** What a virtual key may do; null for an admin. */
  facts: KeyFacts | null
}

/**
 * @throws PenstockError (or its promise) `authentication_failed`, `key_expired`; `permission_denied` by
 *   an open gateway; `service_unavailable` where a key cannot be looked up
 */
export type Authenticate = (req: IncomingMessage) => Identity | Promise<Identity>

export interface AuthOptions {
  masterKey: string | null
  secret: ServerSecret
  keys: Pick<KeyCache, 'find'>
  now?: () => number
}

/** Who asks an open gateway. */
export const anybody = adminOf({ keyId: null, userId: null, teamId: null })
const master = adminOf({ keyId: 'master', userId: 'default_user_id', teamId: null })

export function createAuthenticate(options: AuthOptions): Authenticate {
  const { masterKey, secret, keys, now = Date.now } = options
  if (masterKey === null) {
    return (req) => {
      refuseForeign(req)
      return anybody
    }
  }
  const masterDigest = secret.digestOf(masterKey)
  return ({ headers }) => {
    const key = presentedKey(headers)
    if (key === null) {
      const message = 'No API key given: send `Authorization: Bearer <key>`.'
      throw new PenstockError('authentication_failed', message)
    }
    const digest = secret.digestOf(key)
    if (secret.isSame(digest, masterDigest)) return master
    if (!isKeyText(key)) throw notValid()
    const found = keys.find(digest.toString('hex'))
    if (found instanceof Promise) return found.then((facts) => holderOf(facts, now()))
    return holderOf(found, now())
  }
}

/** @param now epoch milliseconds */
export function holderOf(facts: KeyFacts | null, now: number): Identity {
  if (facts === null) throw notValid()
  if (facts.expiresAt !== null && facts.expiresAt <= now) {
    const message = `The API key expired at ${new Date(facts.expiresAt).toISOString()}.`
    throw new PenstockError('key_expired', message)
  }
  if (facts.blocked !== null) {
    throw new PenstockError('authentication_failed', `${blockedPart(facts)} is blocked.`)
  }
  const { keyId, userId, teamId } = facts
  const caller = { keyId, userId, teamId }
  return { caller, admin: false, actor: { role: 'key', ...caller }, facts }
}

function blockedPart({ blocked, teamId, userId }: KeyFacts): string {
  if (blocked === 'team') return `The API key's team \`${teamId}\``
  if (blocked === 'user') return `The API key's user \`${userId}\``
  return 'The API key'
}

function notValid(): PenstockError {
  return new PenstockError('authentication_failed', 'The API key is not valid.')
}

function adminOf(caller: Identity['caller']): Identity {
  return { caller, admin: true, actor: { role: 'master', ...caller }, facts: null }
}
