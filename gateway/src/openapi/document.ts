// The OpenAPI 3.1 document: made from the schemas that requests are checked by, so that it cannot say
// anything else. Its schemas are JSON Schema 2020-12, which is OpenAPI 3.1's own.
import { adminOperations } from '@penstock/shared/contracts/admin'
import type { AdminOperation } from '@penstock/shared/contracts/admin/operation'
import { z } from 'zod'
import { type DescribedRoute, describedRoutes } from './routes.ts'

type Json = Record<string, unknown>
interface Operation extends Json {
  tags: string[]
  summary: string
}

export interface OpenApiDocument {
  openapi: '3.1.0'
  info: Json
  security: Json[]
  paths: Record<string, Record<string, Operation>>
  components: Json
}

const errorReply = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string(),
  }),
})

export function openApiDocument(): OpenApiDocument {
  const paths: OpenApiDocument['paths'] = {}
  const routes = [...Object.entries(describedRoutes), ...adminRoutes()]
  for (const [name, route] of routes) {
    const [method = '', path = ''] = name.split(' ')
    const place = openApiPath(path)
    paths[place] = { ...paths[place], [method.toLowerCase()]: operationOf(name, path, route) }
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Penstock',
      version: '0.1.0',
      description:
        'An LLM gateway with durable queues. Paths under `/v1` stand without it too. A request to a model may carry `Idempotency-Key`: a repeat within 24 hours gets the first answer.',
    },
    security: [{ bearer: [] }, { apiKey: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        apiKey: { type: 'apiKey', in: 'header', name: 'x-api-key' },
      },
      schemas: { Error: schemaOf(errorReply, 'output') },
    },
  }
}

/** Express's `:id` and `*id` are both `{id}`. */
export function openApiPath(path: string): string {
  return path.replace(/[:*](\w+)/g, '{$1}')
}

function operationOf(name: string, path: string, route: DescribedRoute): Operation {
  const { tag, summary, body, query, reply, produces, consumes, open } = route
  const type = produces ?? 'application/json'
  const schema = reply === undefined ? {} : schemaOf(reply, 'output')
  const content = name.startsWith('HEAD') ? {} : { content: { [type]: { schema } } }
  const parameters = [...pathParameters(path), ...(query === undefined ? [] : inQuery(query))]
  return {
    tags: [tag],
    summary,
    operationId: name.replace(/[^a-zA-Z0-9]+/g, '_').toLowerCase(),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined && consumes === undefined ? {} : { requestBody: bodyOf(route) }),
    responses: {
      200: { description: 'The answer', ...content },
      default: {
        description: "An error, in the form of the route's own API where it has another one",
        content: { 'application/json': { schema: { $ref: '#/components/schemas/Error' } } },
      },
    },
    ...(open ? { security: [] } : {}),
  }
}

function bodyOf({ body, consumes = 'application/json' }: DescribedRoute): Json {
  const schema = body === undefined ? { type: 'object' } : schemaOf(body, 'input')
  return { required: true, content: { [consumes]: { schema } } }
}

function pathParameters(path: string): Json[] {
  return [...path.matchAll(/[:*](\w+)/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
}

const objectSchema = z.looseObject({
  properties: z.record(z.string(), z.unknown()).default({}),
  required: z.array(z.string()).default([]),
})

function inQuery(query: z.ZodType): Json[] {
  const { properties, required } = objectSchema.parse(schemaOf(query, 'input'))
  return Object.entries(properties).map(([name, schema]) => ({
    name,
    in: 'query',
    ...(required.includes(name) ? { required: true } : {}),
    schema,
  }))
}

/** What JSON Schema has no words for, such as a check of our own, is left open. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' })
  return rest
}

function adminRoutes(): [string, DescribedRoute][] {
  const operations: Record<string, AdminOperation> = adminOperations
  return Object.values(operations).flatMap(({ method, path, alsoAt, params, reply }) => {
    const [, group = ''] = path.split('/')
    const described: DescribedRoute = {
      tag: `Admin: ${group}`,
      summary: path.slice(1).replaceAll(/[/_]/g, ' '),
      ...(method === 'get' ? { query: params } : { body: params }),
      reply,
    }
    const places = alsoAt === undefined ? [path] : [path, alsoAt]
    return places.map((place): [string, DescribedRoute] => [
      `${method.toUpperCase()} ${place}`,
      described,
    ])
  })
}
