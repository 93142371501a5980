// The parameters of an admin operation as they may leave the gateway: references in the place of keys,
// the hash in the place of a new one.
import type { AdminQuestion } from '@penstock/shared/contracts/admin'
import type { AdminOperation } from '@penstock/shared/contracts/admin/operation'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { chosenKey, generateKey, keyReference, maskedKey } from './key-texts.ts'
import type { ServerSecret } from './secret.ts'

export interface KeylessParams {
  params: Record<string, unknown>
  newKey: AdminQuestion['newKey']
  /** What `newKey` is the hash of; null where the operation makes none. */
  plainKey: string | null
}

/** @throws PenstockError `invalid_request` for a chosen key that is too short to be one */
export function withoutKeyTexts(
  operation: Pick<AdminOperation, 'keyParams' | 'makesKey'>,
  parsed: unknown,
  secret: ServerSecret,
  masterKey: string | null,
): KeylessParams {
  const params = { ...(parsed as Record<string, unknown>) }
  const { keyParams = [], makesKey } = operation
  const reference = (text: unknown) =>
    typeof text === 'string' ? keyReference(text, secret, masterKey) : text
  for (const name of keyParams) {
    const given = params[name]
    if (given === undefined) continue
    params[name] = Array.isArray(given) ? given.map(reference) : reference(given)
  }
  if (makesKey === undefined) return { params, newKey: null, plainKey: null }

  const { [makesKey]: chosen, ...others } = params
  const plainKey = typeof chosen === 'string' ? chosenKey(chosen, makesKey) : generateKey()
  const digest = secret.digestOf(plainKey)
  if (masterKey !== null && secret.isSame(digest, secret.digestOf(masterKey))) {
    const message = `Invalid request: ${makesKey}: this key is taken`
    throw new PenstockError('conflict', message, { param: makesKey })
  }
  const newKey = {
    secretHash: digest.toString('hex'),
    keyName: maskedKey(plainKey),
    secretFingerprint: secret.fingerprint,
  }
  return { params: others, newKey, plainKey }
}
