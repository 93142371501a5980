// The routes that have the model in their path: Azure's `/openai/deployments/{model}/…?api-version=…`
// and OpenAI's older `/engines/{model}/…`. The model may hold slashes; requests and answers are OpenAI's.

import type { Operation } from '@penstock/shared/contracts/request'
import { parseFields } from '@penstock/shared/parse-fields'
import type { Express, Request, RequestHandler } from 'express'
import { z } from 'zod'
import type { Gateway } from '../gateway.ts'
import {
  chatRequest,
  completionRequest,
  embeddingRequest,
  type KnownFields,
  parseRequest,
} from '../schemas.ts'
import { requestRoute } from './inference.ts'

const operations = [
  ['/chat/completions', 'chat', chatRequest],
  ['/completions', 'completion', completionRequest],
  ['/embeddings', 'embedding', embeddingRequest],
] as const

export function mountAzure(app: Express, gateway: Gateway): void {
  for (const [path, operation, schema] of operations) {
    const route = deploymentRoute(gateway, operation, schema)
    app.post(`/openai/deployments/*model${path}`, route)
    app.post([`/v1/engines/*model${path}`, `/engines/*model${path}`], route)
  }
}

/** The path's model is meant, whatever the body says. */
function deploymentRoute(
  gateway: Gateway,
  operation: Operation,
  schema: z.ZodType<KnownFields>,
): RequestHandler {
  return requestRoute(gateway, (value, req) => {
    const fields = parseFields(z.looseObject({}), value, 'request')
    const request = parseRequest(schema, { ...fields, model: modelOf(req) })
    return { operation, request, foreign: null }
  })
}

function modelOf({ params }: Request): string {
  const segments: unknown = params.model
  return Array.isArray(segments) ? segments.join('/') : String(segments)
}
