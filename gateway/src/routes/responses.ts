// What is kept of responses, for those who made them: read, watched from any event on, cancelled, deleted.
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Request, RequestHandler } from 'express'
import { z } from 'zod'
import type { Gateway } from '../gateway.ts'
import { ownerOf } from '../responses/owner.ts'
import type { StoredResponse } from '../responses/response-store.ts'
import { sendEvents } from '../responses/send-events.ts'
import { parseQuery } from '../schemas.ts'

type ResponseHandler = RequestHandler<{ response_id: string }>

const retrieval = z.object({
  stream: z.enum(['true', 'false']).default('false'),
  starting_after: z.coerce.number().int().min(0).optional(),
})

export function getResponse(gateway: Gateway): ResponseHandler {
  return async (req, res) => {
    const { response, owner } = await ownResponse(gateway, req)
    const { stream, starting_after: startingAfter = -1 } = parseQuery(retrieval, req.query)
    if (stream === 'false') {
      res.json(response)
      return
    }
    if (!response.background) {
      const message = 'Only a background response can be streamed again.'
      throw new PenstockError('invalid_request', message, { param: 'stream' })
    }
    await sendEvents(gateway, { id: response.id, owner, startingAfter }, res)
  }
}

export function deleteResponse(gateway: Gateway): ResponseHandler {
  return async (req, res) => {
    const { response } = await ownResponse(gateway, req)
    const { background } = gateway
    if (isRunning(response)) await background.cancel(response.id)
    await background.store.remove(response.id)
    res.json({ id: response.id, object: 'response', deleted: true })
  }
}

export function cancelResponse(gateway: Gateway): ResponseHandler {
  return async (req, res) => {
    const { response } = await ownResponse(gateway, req)
    if (!response.background) {
      const message = 'Only a background response can be cancelled: leave any other one.'
      throw new PenstockError('invalid_request', message)
    }
    if (!isRunning(response)) {
      res.json(response)
      return
    }
    await gateway.background.cancel(response.id)
    res.json((await ownResponse(gateway, req)).response)
  }
}

const page = z.object({
  limit: z.coerce.number().int().min(1).max(100).default(20),
  order: z.enum(['asc', 'desc']).default('desc'),
  after: z.string().optional(),
})

/** Of the request itself; what came before is listed with the responses before. */
export function listInputItems(gateway: Gateway): ResponseHandler {
  return async (req, res) => {
    const { input } = await ownResponse(gateway, req)
    const { limit, order, after } = parseQuery(page, req.query)
    const items = order === 'asc' ? input : input.toReversed()
    const begin = after === undefined ? 0 : items.findIndex(({ id }) => id === after) + 1
    if (after !== undefined && begin === 0) {
      const message = `Item with id '${after}' not found.`
      throw new PenstockError('not_found', message, { param: 'after' })
    }
    const data = items.slice(begin, begin + limit)
    res.json({
      object: 'list',
      data,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: begin + limit < items.length,
    })
  }
}

function isRunning({ status }: StoredResponse['response']): boolean {
  return status === 'queued' || status === 'in_progress'
}

/** @throws PenstockError `not_found`, also for another key's; what authentication throws */
async function ownResponse(
  gateway: Gateway,
  req: Request<{ response_id: string }>,
): Promise<StoredResponse> {
  const identity = await gateway.authenticate(req)
  const { response_id: id } = req.params
  const found = await gateway.background.store.get(id, ownerOf(identity))
  if (found !== null) return found
  throw new PenstockError('not_found', `Response with id '${id}' not found.`)
}
