// The routes that ask a model: read, validate, dispatch, write. What differs between chat,
// completions and embeddings is a schema each; the way is the same.

import { resolveAlias, resolveGroup } from '@penstock/shared/config/resolve-group'
import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import type { Operation } from '@penstock/shared/contracts/request'
import { timeOrderedId } from '@penstock/shared/ids'
import {
  isTraceparent,
  SpanKind,
  SpanStatusCode,
  traceparentOf,
} from '@penstock/shared/telemetry/trace'
import type { Request, RequestHandler, Response } from 'express'
import type { z } from 'zod'
import { answerTo, writeError } from '../answer.ts'
import type { Identity } from '../auth.ts'
import { endUserOf, sessionOf, tagsOf } from '../client-texts.ts'
import type { Gateway } from '../gateway.ts'
import { parseJson, readBody } from '../read-body.ts'
import { type RoutingFacts, routingFacts } from '../routing-facts.ts'
import { type KnownFields, parseRequest } from '../schemas.ts'
import { knownGroups } from './models.ts'

export function inferenceRoute<S extends z.ZodType<KnownFields>>(
  gateway: Gateway,
  operation: Operation,
  schema: S,
): RequestHandler {
  return async (req, res) => {
    const receivedAt = Date.now()
    const identity = gateway.authenticate(req)
    const body = await readBody(req)
    const request = parseRequest(schema, parseJson(body))
    const group = groupFor(gateway, request.model)
    const facts = routingFacts(req, request, identity, gateway.config)
    const session = sessionOf(request)
    // Only a request that belongs to a session asks the store whether the session is marked.
    if (session !== null) {
      const isGroupLocal = gateway.config.penstock.modelGroups[group]?.data === 'local'
      facts.local = await gateway.localSessions.hold(session, facts.local || isGroupLocal)
    }
    // Its client left meanwhile: that is announced once, and nobody listened.
    if (res.closed) {
      const { correlationId } = res.locals
      gateway.log.info({ correlationId, group, operation, status: 499 }, 'client left')
      return
    }
    ask(gateway, operation, { req, res, receivedAt, identity, request, group, body, facts })
  }
}

interface Asked {
  req: Request
  res: Response
  receivedAt: number
  identity: Identity
  request: KnownFields
  group: string
  body: Buffer
  facts: RoutingFacts
}

function ask(gateway: Gateway, operation: Operation, asked: Asked): void {
  const { req, res, receivedAt, request, group, body, facts } = asked
  const id = timeOrderedId()
  const { correlationId } = res.locals
  // Nothing streams embeddings, whatever the client asks.
  const stream = request.stream === true && operation !== 'embedding'
  const span = gateway.tracing.start(`${operation} ${group}`, {
    kind: SpanKind.SERVER,
    parent: incomingTrace(req),
    startTime: receivedAt,
    attributes: {
      'gen_ai.operation.name': operation,
      'gen_ai.request.model': request.model,
      'penstock.request_id': id,
      'penstock.correlation_id': correlationId,
    },
  })
  res.setHeader('x-penstock-request-id', id)

  let finished = false
  let cancel = () => {}
  const sink = answerTo(res, {
    stream,
    receivedAt,
    cancel: () => cancel(),
    headers: () => [],
    onFirstBytes() {
      const seconds = (Date.now() - receivedAt) / 1000
      if (stream) gateway.metrics.firstToken({ operation, group, outcome: 'ok' }, seconds)
    },
    onFinish(status, error) {
      if (finished) return
      finished = true
      const ms = Date.now() - receivedAt
      const outcome = error === null ? 'ok' : error.code
      gateway.metrics.answered({ operation, group, outcome }, ms / 1000)
      const line = { requestId: id, correlationId, group, operation, stream, status, ms }
      if (error === null) gateway.log.info(line, 'request answered')
      else gateway.log.info({ ...line, code: error.code }, 'request failed')
      if (span === null) return
      span.setAttribute('http.response.status_code', status)
      if (error !== null) span.setStatus({ code: SpanStatusCode.ERROR, message: error.code })
      span.end()
    },
  })
  cancel = gateway.dispatcher.send(
    {
      id,
      correlationId,
      operation,
      stream,
      includeUsage: request.stream_options?.include_usage === true,
      requestedModel: request.model,
      model: resolveAlias(request.model, gateway.config.router.modelGroupAlias),
      group,
      receivedAt,
      timeoutMs: gateway.config.requestTimeoutMs,
      caller: { ...asked.identity.caller, endUser: endUserOf(request) },
      ...facts,
      tags: tagsOf(request),
      sessionId: sessionOf(request),
      storePrompts: gateway.config.penstock.storePrompts,
    },
    body,
    sink,
    span === null ? incomingTrace(req) : traceparentOf(span),
  )
  res.on('close', () => {
    if (finished) return
    cancel()
    finished = true
    const ms = Date.now() - receivedAt
    const line = { requestId: id, correlationId, group, operation, stream, status: 499, ms }
    const outcome = 'client_closed_request'
    gateway.metrics.answered({ operation, group, outcome }, ms / 1000)
    gateway.log.info(line, 'client left')
    span?.setStatus({ code: SpanStatusCode.ERROR, message: 'client_closed_request' }).end()
  })
}

function groupFor(gateway: Gateway, model: string): string {
  const { config, fleet } = gateway
  const group = resolveGroup(model, knownGroups(config), fleet.groups(), fleet.aliases)
  if (group !== null) return group
  const message = `The model \`${model}\` does not exist. GET /v1/models lists those that do.`
  throw new PenstockError('model_not_found', message, { param: 'model' })
}

function incomingTrace(req: Request): string | null {
  const { traceparent } = req.headers
  return typeof traceparent === 'string' && isTraceparent(traceparent) ? traceparent : null
}

/** The last stop of everything that a route throws. */
export function failWith(gateway: Gateway, error: unknown, res: Response): void {
  const info = toErrorInfo(error)
  const line = { correlationId: res.locals.correlationId, code: info.code, status: info.status }
  if (info.code === 'internal_error') gateway.log.error({ ...line, err: error }, 'request failed')
  else gateway.log.info(line, 'request refused')
  writeError(res, info)
}
