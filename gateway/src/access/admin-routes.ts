// The admin API: every operation of the table in shared/contracts/admin, mounted as it is described
// there. The gateway checks the form and says who asks; what that one may do, billing decides. A key
// goes no further than here: what is sent holds its hash.
import { ask } from '@penstock/shared/bus/request-reply'
import { type AdminOperationName, adminOperations } from '@penstock/shared/contracts/admin'
import type { AdminOperation } from '@penstock/shared/contracts/admin/operation'
import { channels } from '@penstock/shared/contracts/channels'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { parseFields } from '@penstock/shared/parse-fields'
import type { Express, Request, RequestHandler } from 'express'
import type { Gateway } from '../gateway.ts'
import { parseJson, readBody } from '../read-body.ts'
import { withoutKeyTexts } from './key-params.ts'

/** A question has to fit into one message of NATS, which takes 1 MB. */
const maxBodyBytes = 512 * 1024
const timeoutMs = 15_000

type Operations = Readonly<Record<string, AdminOperation>>

/** @param operations other ones than the table's, for tests of how they are mounted */
export function mountAdmin(
  app: Express,
  gateway: Gateway,
  operations: Operations = adminOperations,
): void {
  for (const [name, operation] of Object.entries(operations)) {
    const handler = adminRoute(gateway, name as AdminOperationName, operation)
    const { path, alsoAt } = operation
    app[operation.method](alsoAt === undefined ? path : [path, alsoAt], handler)
  }
}

function adminRoute(
  gateway: Gateway,
  name: AdminOperationName,
  operation: AdminOperation,
): RequestHandler {
  return async (req, res) => {
    res.setHeader('cache-control', 'no-store')
    const { actor } = await gateway.authenticate(req)
    const fields = { ...(await fieldsOf(req, operation)), ...req.params }
    const parsed = parseFields(operation.params, fields, 'request')
    const { secret, config } = gateway
    const { params, newKey, plainKey } = withoutKeyTexts(
      operation,
      parsed,
      secret,
      config.masterKey,
    )
    const { correlationId } = res.locals
    const { admin } = channels
    const question = { operation: name, actor, correlationId, params, newKey }
    const answered = await ask(gateway.bus, admin, admin.subject(), question, timeoutMs)
    const reply = operation.reply.safeParse(answered)
    if (!reply.success) {
      throw new PenstockError('internal_error', `Odd answer to ${operation.path}.`)
    }
    gateway.log.info(
      { correlationId, operation: name, keyId: actor.keyId },
      'admin request answered',
    )
    res.json(plainKey === null ? reply.data : withKey(reply.data, plainKey))
  }
}

/** The body of a POST, the query string of a GET. */
async function fieldsOf(req: Request, { method }: AdminOperation): Promise<object> {
  if (method === 'get') return req.query
  const body = await readBody(req)
  if (body.length > maxBodyBytes) {
    const message = `The request body is larger than ${maxBodyBytes / 1024} KB.`
    throw new PenstockError('request_too_large', message)
  }
  // `curl -X POST` sends none where every field may be left out.
  const fields = body.length === 0 ? {} : parseJson(body)
  if (typeof fields === 'object' && fields !== null && !Array.isArray(fields)) return fields
  throw new PenstockError('invalid_request', 'The request body must be a JSON object.')
}

/** The one time that a new key is shown. An operation may have made none: then it names no key. */
function withKey(reply: unknown, plainKey: string): unknown {
  if (typeof reply !== 'object' || reply === null) return reply
  const isMade = 'token' in reply && typeof reply.token === 'string'
  return isMade ? { ...reply, key: plainKey } : reply
}
