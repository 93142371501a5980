// Who is asking. For now one master key or an open gateway on loopback; virtual keys join here.
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Caller } from '@penstock/shared/contracts/request'
import { refuseForeign } from './loopback.ts'

export interface Identity {
  caller: Omit<Caller, 'endUser'>
  /** May use the admin routes. */
  admin: boolean
}

const nobody = { keyId: null, userId: null, teamId: null }

/** @throws PenstockError `authentication_failed`; `permission_denied` by an open gateway */
export type Authenticate = (req: IncomingMessage) => Identity

export function createAuthenticate(masterKey: string | null): Authenticate {
  if (masterKey === null) {
    return (req) => {
      refuseForeign(req)
      return { caller: nobody, admin: true }
    }
  }
  const wanted = sha256(masterKey)
  const identity = {
    caller: { ...nobody, keyId: wanted.toString('hex'), userId: 'default_user_id' },
    admin: true,
  }
  return (req) => {
    const key = presentedKey(req)
    if (key === null) {
      const message = 'No API key given: send `Authorization: Bearer <key>`.'
      throw new PenstockError('authentication_failed', message)
    }
    // Equal-length digests: the comparison takes the same time however much of the key is right.
    if (timingSafeEqual(sha256(key), wanted)) return identity
    throw new PenstockError('authentication_failed', 'The API key is not valid.')
  }
}

/** OpenAI's header, or the ones that Anthropic's and Azure's clients send. */
function presentedKey(req: IncomingMessage): string | null {
  const { authorization } = req.headers
  if (authorization !== undefined) return authorization.replace(/^Bearer\s+/i, '').trim()
  const other = req.headers['x-api-key'] ?? req.headers['api-key']
  return typeof other === 'string' ? other.trim() : null
}

/** As keys are known everywhere behind the gateway, and in LiteLLM: SHA-256 in hex. */
export function hashOfKey(key: string): string {
  return sha256(key).toString('hex')
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
