// The gate in front of the operator's routes: the master key, or an open gateway on loopback.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { RequestHandler } from 'express'
import type { Gateway } from './gateway.ts'

export function requireAdmin(gateway: Gateway): RequestHandler {
  return async (req, _res, next) => {
    const { admin } = await gateway.authenticate(req)
    if (!admin)
      throw new PenstockError('permission_denied', 'Only the master key may ask for this.')
    next()
  }
}
