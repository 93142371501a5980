// POST /v1/responses: reads the request, puts the conversation before it in its place, and has it
// answered as any other, or begins it in the background.

import { isDeepStrictEqual } from 'node:util'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Fields } from '@penstock/shared/dialects/dialect'
import {
  type ResponsesRequest,
  responsesRequest,
} from '@penstock/shared/dialects/responses/request'
import { newResponseId } from '@penstock/shared/dialects/responses/response-ids'
import type { Asked } from '@penstock/shared/dialects/responses/response-object'
import { responses, responseTo, streamOf } from '@penstock/shared/dialects/responses/responses'
import { parseFields } from '@penstock/shared/parse-fields'
import { isTraceparent } from '@penstock/shared/telemetry/trace'
import type { Request, RequestHandler, Response } from 'express'
import type { ResolvedModel } from '../access/model-access.ts'
import type { Identity } from '../auth.ts'
import type { Gateway } from '../gateway.ts'
import { digestOf, idempotencyKeyOf } from '../idempotency/idempotency.ts'
import { type ReadRequest, useDialect } from '../read-request.ts'
import { requestFacts } from '../request-facts.ts'
import { requestRoute } from '../routes/inference.ts'
import { chatRequest, type KnownFields, parseRequest } from '../schemas.ts'
import type { BackgroundJob } from './background-job.ts'
import { readConversation } from './history.ts'
import { ownerOf } from './owner.ts'
import { type ResponseStore, type StoredResponse, storedResponse } from './response-store.ts'
import { sendEvents } from './send-events.ts'

interface Read {
  asked: Asked
  owner: string
  /** What is kept of the input: the request's own items. */
  input: Fields[]
  /** The request as the worker translates it. */
  fields: Fields
  /** What the gateway reads of it. */
  known: KnownFields
  /** What an equal request with the same Idempotency-Key has begun already. */
  earlier: StoredResponse | null
}

/** As long as a repeated request counts as one, in milliseconds. */
const repeatMs = 24 * 60 * 60_000

export function createResponse(gateway: Gateway): RequestHandler[] {
  return [
    useDialect(responses),
    requestRoute(gateway, (value, req, identity) => readResponse(gateway, value, req, identity)),
  ]
}

/** @throws PenstockError `invalid_request`, `not_found`, `request_too_large`, `service_unavailable` */
async function readResponse(
  gateway: Gateway,
  value: unknown,
  req: Request,
  identity: Identity,
): Promise<ReadRequest> {
  const request = parseFields(responsesRequest, value, 'request')
  refuseContradiction(request)
  const owner = ownerOf(identity)
  const { store } = gateway.background
  const { id, earlier } = await idFor(store, owner, req)
  const { own, all, isPlain } = await readConversation(store, owner, id, request)
  const fields: Fields = isPlain
    ? request
    : { ...request, input: all, previous_response_id: undefined }
  const { body } = responses.toCanonical(fields)
  const asked = { id, createdAt: Math.floor(Date.now() / 1000), request }
  const known = { ...parseRequest(chatRequest, body), metadata: request.metadata }
  const read: Read = { asked, owner, input: own, fields, known, earlier }
  return {
    operation: 'chat',
    request: known,
    foreign: { dialect: keptDialect(gateway, read), fields },
    ...(isPlain ? {} : { body: Buffer.from(JSON.stringify(fields)) }),
    ...(request.background === true
      ? { reply: (res, resolved) => beginInBackground(gateway, read, req, res, identity, resolved) }
      : {}),
  }
}

/** With an Idempotency-Key the id follows from it, so that a repeat means the same response. */
async function idFor(store: ResponseStore, owner: string, req: Request) {
  const key = idempotencyKeyOf(req)
  if (key === null) return { id: newResponseId(), earlier: null }
  const id = `resp_${digestOf('response', owner, key).slice(0, 32)}`
  const earlier = await store.get(id, owner)
  const madeAt = Number(earlier?.response.created_at ?? 0) * 1_000
  const isPast = earlier !== null && Date.now() - madeAt > repeatMs
  return isPast ? { id: newResponseId(), earlier: null } : { id, earlier }
}

function refuseContradiction({ background, store }: ResponsesRequest): void {
  if (background !== true || store !== false) return
  const message = 'Invalid request: background: a background response is always stored'
  throw new PenstockError('invalid_request', message, { param: 'background' })
}

/** The dialect, with this response's id, and kept at its end unless the client does not want it. */
function keptDialect(gateway: Gateway, { asked, owner, input }: Read) {
  const keep = (response: Fields) => {
    if (asked.request.store === false) return
    const record = storedResponse.parse({ owner, response, input })
    gateway.background.store.putSoon(asked.id, record, (cause) => {
      gateway.log.error({ err: cause, responseId: asked.id }, 'a response could not be stored')
    })
  }
  return {
    ...responses,
    answer(canonical: Fields) {
      const response = responseTo(canonical, asked)
      keep(response)
      return response
    },
    stream: () => streamOf(() => asked, keep),
  }
}

async function beginInBackground(
  gateway: Gateway,
  { asked, owner, input, fields, known, earlier }: Read,
  req: Request,
  res: Response,
  identity: Identity,
  resolved: ResolvedModel,
): Promise<void> {
  const { background } = gateway
  if (earlier !== null) {
    if (!isDeepStrictEqual(earlier.input, storedResponse.shape.input.parse(input))) {
      const message = 'The Idempotency-Key was used for another request.'
      throw new PenstockError('conflict', message, { status: 422 })
    }
    await answer(gateway, asked, earlier.response, owner, res)
    return
  }
  const facts = await requestFacts(gateway, { from: req, request: known, identity, resolved })
  const { traceparent } = req.headers
  const job: BackgroundJob = {
    ...asked,
    // The response echoes all but what was said.
    request: { ...asked.request, input: [] },
    owner,
    body: { ...fields, stream: true },
    input: storedResponse.shape.input.parse(input),
    envelope: {
      correlationId: res.locals.correlationId,
      operation: 'chat',
      dialect: 'responses',
      dialectHeaders: {},
      stream: true,
      includeUsage: false,
      ...facts,
      receivedAt: Date.now(),
    },
    keyFacts: identity.facts,
    traceparent: typeof traceparent === 'string' && isTraceparent(traceparent) ? traceparent : null,
  }
  await answer(gateway, asked, await background.begin(job), owner, res)
}

async function answer(
  gateway: Gateway,
  { id, request }: Asked,
  response: Fields,
  owner: string,
  res: Response,
): Promise<void> {
  if (request.stream === true) await sendEvents(gateway, { id, owner, startingAfter: -1 }, res)
  else res.json(response)
}
