// GET /v1/models and /v1/models/{id}: the model groups of the config and those that joined, as far as
// the caller's key may use them.
import type { RequestHandler } from 'express'
import { listedModels, resolveModel } from '../access/model-access.ts'
import type { Gateway } from '../gateway.ts'

/** OpenAI's model object. Nobody knows when a group was made: the time is that of the start. */
const created = Math.floor(Date.now() / 1000)
const modelObject = (id: string) => ({ id, object: 'model', created, owned_by: 'penstock' })

export function listModels(gateway: Gateway): RequestHandler {
  return async (req, res) => {
    const identity = await gateway.authenticate(req)
    res.json({ object: 'list', data: listedModels(gateway, identity).map(modelObject) })
  }
}

export function getModel(gateway: Gateway): RequestHandler {
  return async (req, res) => {
    const identity = await gateway.authenticate(req)
    // A model's name may hold slashes: the route's wildcard gives its segments.
    const segments: unknown = req.params.id
    const id = Array.isArray(segments) ? segments.join('/') : String(segments)
    resolveModel(gateway, identity, id)
    res.json(modelObject(id))
  }
}
