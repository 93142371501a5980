// Ollama's own API for the whole fleet: its clients reach every model that their key may use. The
// routes that change a host (pull, create, delete …) are not there: no client manages the fleet.

import { createHash } from 'node:crypto'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Dialect, Fields } from '@penstock/shared/dialects/dialect'
import { ollamaChat } from '@penstock/shared/dialects/ollama/chat'
import { ollamaEmbed } from '@penstock/shared/dialects/ollama/embed'
import { ollamaGenerate } from '@penstock/shared/dialects/ollama/generate'
import { loadReply } from '@penstock/shared/dialects/ollama/load'
import { parseFields } from '@penstock/shared/parse-fields'
import type { Express, RequestHandler } from 'express'
import { z } from 'zod'
import { listedModels, type ResolvedModel, resolveModel } from '../access/model-access.ts'
import type { Identity } from '../auth.ts'
import type { Gateway } from '../gateway.ts'
import { parseJson, readBody } from '../read-body.ts'
import { type ReadForm, readDialect, useDialect } from '../read-request.ts'
import { requestRoute } from './inference.ts'

/** The version of Ollama whose API this is: its clients refuse servers that are too old for them. */
const apiVersion = '0.12.11'
const latest = ':latest'
/** Nobody knows when a group was made: the time is that of the start. */
const modifiedAt = new Date().toISOString()

export function mountOllama(app: Express, gateway: Gateway): void {
  // The errors of all of it, of what there is not too, are in Ollama's form.
  app.use('/api', useDialect(ollamaChat))
  // The command line asks for it before anything else, without a key (api/client.go, Heartbeat).
  app.head('/', (_req, res) => void res.end())
  app.get('/api/version', (_req, res) => void res.json({ version: apiVersion }))
  app.post('/api/chat', requestRoute(gateway, readOllama(gateway, ollamaChat)))
  app.post('/api/generate', requestRoute(gateway, readOllama(gateway, ollamaGenerate)))
  const embed = requestRoute(gateway, readOllama(gateway, ollamaEmbed))
  app.post(['/api/embed', '/api/embeddings'], embed)
  app.get('/api/tags', listModels(gateway))
  app.post('/api/show', showModel(gateway))
}

function readOllama(gateway: Gateway, dialect: Dialect): ReadForm {
  return (value, _req, identity) => {
    const fields = parseFields(z.looseObject({ model: z.string().min(1) }), value, 'request')
    const { model } = knownModel(gateway, identity, fields.model)
    const { name } = dialect
    const isGeneration = name === 'ollama-chat' || name === 'ollama-generate'
    const reply = isGeneration ? loadReply(name, fields) : null
    if (reply !== null) return { operation: 'chat', request: { model }, foreign: null, reply }
    const read = readDialect(dialect, fields)
    return { ...read, request: { ...read.request, model } }
  }
}

/**
 * To Ollama's clients a name without a tag means its tag `latest`, and some add it.
 * @throws PenstockError as `resolveModel` does, about the name as it was given
 */
function knownModel(
  gateway: Gateway,
  identity: Identity,
  model: string,
): { model: string; resolved: ResolvedModel } {
  try {
    return { model, resolved: resolveModel(gateway, identity, model) }
  } catch (cause) {
    const isUnknown = cause instanceof PenstockError && cause.code === 'model_not_found'
    if (!isUnknown || !model.endsWith(latest)) throw cause
    const bare = model.slice(0, -latest.length)
    return { model: bare, resolved: resolveModel(gateway, identity, bare) }
  }
}

/** GET /api/tags */
function listModels(gateway: Gateway): RequestHandler {
  return async (req, res) => {
    const identity = await gateway.authenticate(req)
    const models = listedModels(gateway, identity).map((name) => {
      const { group } = resolveModel(gateway, identity, name)
      return {
        name,
        model: name,
        modified_at: modifiedAt,
        size: 0,
        // Clients show its first digits.
        digest: createHash('sha256').update(name).digest('hex'),
        details: detailsOf(gateway, group),
        capabilities: capabilitiesOf(gateway, group),
      }
    })
    res.json({ models })
  }
}

const showRequest = z.looseObject({ model: z.string().optional(), name: z.string().optional() })

/** POST /api/show */
function showModel(gateway: Gateway): RequestHandler {
  return async (req, res) => {
    const identity = await gateway.authenticate(req)
    const asked = parseFields(showRequest, parseJson(await readBody(req)), 'request')
    // `name` is what older clients send (api/types.go, ShowRequest).
    const name = asked.model || asked.name
    if (!name) {
      const message = 'Invalid request: model: expected the name of a model'
      throw new PenstockError('invalid_request', message, { param: 'model' })
    }
    const { group } = knownModel(gateway, identity, name).resolved
    const context = contextLength(gateway, group)
    res.json({
      modelfile: '',
      parameters: '',
      template: '',
      details: detailsOf(gateway, group),
      model_info: {
        'general.architecture': family,
        ...(context === null ? {} : { [`${family}.context_length`]: context }),
      },
      capabilities: capabilitiesOf(gateway, group),
      modified_at: modifiedAt,
    })
  }
}

const family = 'penstock'

/** Of a group only that is known which holds for every host that serves it. */
function detailsOf(gateway: Gateway, group: string): Fields {
  const context = contextLength(gateway, group)
  return {
    parent_model: '',
    format: '',
    family,
    families: [family],
    parameter_size: '',
    quantization_level: '',
    ...(context === null ? {} : { context_length: context }),
  }
}

/** The shortest that is configured for one of its deployments. */
function contextLength(gateway: Gateway, group: string): number | null {
  const known = gateway.fleet
    .inGroup(group)
    .flatMap(({ maxInputTokens }) => (maxInputTokens === null ? [] : [maxInputTokens]))
  return known.length === 0 ? null : Math.min(...known)
}

/** Whether a model takes tools nobody configures: it is offered, and its upstream says if it cannot. */
function capabilitiesOf({ config }: Gateway, group: string): string[] {
  const modes = config.deployments.filter((one) => one.group === group).map(({ mode }) => mode)
  if (modes.includes('embedding')) return ['embedding']
  return ['completion', 'tools']
}
