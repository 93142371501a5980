// The routes that ask a model: read, validate, dispatch, write. What differs between chat,
// completions and embeddings is a schema each; the way is the same.

import { toErrorInfo } from '@penstock/shared/contracts/errors'
import type { Operation } from '@penstock/shared/contracts/request'
import type { Dialect } from '@penstock/shared/dialects/dialect'
import { timeOrderedId } from '@penstock/shared/ids'
import {
  isTraceparent,
  SpanKind,
  SpanStatusCode,
  traceparentOf,
} from '@penstock/shared/telemetry/trace'
import type { Request, RequestHandler, Response } from 'express'
import type { z } from 'zod'
import { type ResolvedModel, resolveModel } from '../access/model-access.ts'
import type { Admitted } from '../admission/admission.ts'
import { answerTo, writeError } from '../answer.ts'
import { chatForm, dialectForm } from '../answer-form.ts'
import type { Identity } from '../auth.ts'
import { endUserOf, sessionOf, tagsWith } from '../client-texts.ts'
import type { Dispatcher } from '../dispatch.ts'
import type { Gateway } from '../gateway.ts'
import { type Receive, receiveJson } from '../read-body.ts'
import {
  dialectFields,
  type ReadForm,
  type ReadRequest,
  readDialect,
  useDialect,
} from '../read-request.ts'
import { planReuse } from '../reuse.ts'
import { type RoutingFacts, routingFacts } from '../routing-facts.ts'
import { type KnownFields, parseRequest } from '../schemas.ts'

export function inferenceRoute<S extends z.ZodType<KnownFields>>(
  gateway: Gateway,
  operation: Operation,
  schema: S,
): RequestHandler {
  return requestRoute(gateway, (value) => {
    return { operation, request: parseRequest(schema, value), foreign: null }
  })
}

/** Requests and answers in another API's form; its errors too, from the first one on. */
export function dialectRoute(gateway: Gateway, dialect: Dialect): RequestHandler[] {
  return [useDialect(dialect), requestRoute(gateway, (value) => readDialect(dialect, value))]
}

/** The way of every request to a model, from its bytes to the last ones of its answer. */
export function requestRoute(
  gateway: Gateway,
  read: ReadForm,
  receive: Receive = receiveJson,
): RequestHandler {
  return async (req, res) => {
    const receivedAt = Date.now()
    const known = gateway.authenticate(req)
    // A remembered key, as nearly all are, costs not even a turn of the event loop.
    const identity = known instanceof Promise ? await known : known
    const { bytes: sentBody, value } = await receive(req)
    const reading = read(value, req, identity)
    const {
      operation,
      request,
      foreign,
      body = sentBody,
      reply,
    } = reading instanceof Promise ? await reading : reading
    const resolved = resolveModel(gateway, identity, request.model)
    if (reply !== undefined) {
      if (typeof reply === 'function') await reply(res, resolved)
      else res.json(reply)
      return
    }
    const { group } = resolved
    const facts = routingFacts(req, request, identity, gateway.config)
    const session = sessionOf(request)
    // Only a request that belongs to a session asks the store whether the session is marked.
    if (session !== null) {
      const isGroupLocal = gateway.config.penstock.modelGroups[group]?.data === 'local'
      facts.local = await gateway.localSessions.hold(session, facts.local || isGroupLocal)
    }
    const id = timeOrderedId()
    const { requestTimeoutMs: timeoutMs } = gateway.config
    const asked = {
      id,
      req,
      res,
      receivedAt,
      timeoutMs,
      identity,
      request,
      foreign,
      resolved,
      body,
      facts,
    }
    const fields = foreign?.fields ?? request
    const reuse = planReuse(gateway, {
      req,
      allowedGroups: resolved.allowedGroups,
      operation,
      identity,
      fields,
      admit: () => admission(gateway, operation, asked),
    })
    const pass = reuse === null ? admit(gateway, operation, asked) : reuse.admitted
    const admitted = pass instanceof Promise ? await pass : pass
    // Its client left meanwhile: that is announced once, and nobody listened.
    if (res.closed) {
      admitted.settled({ kind: 'unsent' })
      const { correlationId } = res.locals
      gateway.log.info({ correlationId, group, operation, status: 499 }, 'client left')
      return
    }
    ask(gateway, operation, asked, admitted, reuse ?? gateway.dispatcher)
  }
}

interface Asked {
  id: string
  req: Request
  res: Response
  receivedAt: number
  timeoutMs: number
  identity: Identity
  request: KnownFields
  foreign: ReadRequest['foreign']
  resolved: ResolvedModel
  body: Buffer
  facts: RoutingFacts
}

/** Only a key with limits in Redis or with a budget has to wait. */
function admit(gateway: Gateway, operation: Operation, asked: Asked): Admitted | Promise<Admitted> {
  const { resolved, receivedAt } = asked
  const refused = (cause: unknown): never => {
    const { code: outcome } = toErrorInfo(cause)
    const seconds = (Date.now() - receivedAt) / 1000
    gateway.metrics.answered({ operation, group: resolved.group, outcome }, seconds)
    throw cause
  }
  try {
    const pass = admission(gateway, operation, asked)
    return pass instanceof Promise ? pass.catch(refused) : pass
  } catch (cause) {
    return refused(cause)
  }
}

/** @throws PenstockError, or its promise, where the request may not run */
function admission(
  gateway: Gateway,
  operation: Operation,
  asked: Asked,
): Admitted | Promise<Admitted> {
  const { id: requestId, res, identity, request, resolved, body, receivedAt, timeoutMs } = asked
  return gateway.admission.admit({
    requestId,
    facts: identity.facts,
    operation,
    ...resolved,
    request,
    bodyBytes: body.length,
    promptTokens: asked.facts.promptTokens,
    receivedAt,
    timeoutMs,
    onHeader(name, value) {
      // One that waited for another one's answer first may have been told so.
      if (!res.headersSent) res.setHeader(name, value)
    },
  })
}

/** @param by where it is sent: to the queue, or to what may know the answer already */
function ask(
  gateway: Gateway,
  operation: Operation,
  asked: Asked,
  admitted: Admitted,
  by: Pick<Dispatcher, 'send'>,
): void {
  const { id, req, res, receivedAt, timeoutMs, identity, request, resolved, body, facts } = asked
  const { foreign } = asked
  const { group } = resolved
  const { correlationId } = res.locals
  // Nothing else is streamed, whatever the client asks.
  const stream = request.stream === true && (operation === 'chat' || operation === 'completion')
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
    form: foreign === null ? chatForm : dialectForm(foreign.dialect, foreign.fields, correlationId),
    cancel: () => cancel(),
    headers: (head, end) => admitted.headers(head, end),
    onFirstBytes() {
      const seconds = (Date.now() - receivedAt) / 1000
      if (stream) gateway.metrics.firstToken({ operation, group, outcome: 'ok' }, seconds)
    },
    onFinish(status, error, end) {
      if (finished) return
      finished = true
      if (error !== null) admitted.settled({ kind: 'failed', error })
      else if (end !== null) admitted.settled({ kind: 'answered', end })
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
  cancel = by.send(
    {
      id,
      correlationId,
      operation,
      ...(foreign === null ? {} : dialectFields(foreign.dialect, req)),
      stream,
      includeUsage: request.stream_options?.include_usage === true,
      requestedModel: request.model,
      ...resolved,
      allowedGroups: admitted.allowedGroups,
      answerLimit: admitted.answerLimit,
      receivedAt,
      timeoutMs,
      caller: { ...identity.caller, endUser: endUserOf(request) },
      ...facts,
      tags: tagsWith(identity.facts?.tags ?? [], request),
      sessionId: sessionOf(request),
      storePrompts: identity.facts?.storePrompts ?? gateway.config.penstock.storePrompts,
    },
    body,
    sink,
    span === null ? incomingTrace(req) : traceparentOf(span),
  )
  res.on('close', () => {
    if (finished) return
    cancel()
    finished = true
    admitted.settled({ kind: 'left' })
    const ms = Date.now() - receivedAt
    const line = { requestId: id, correlationId, group, operation, stream, status: 499, ms }
    const outcome = 'client_closed_request'
    gateway.metrics.answered({ operation, group, outcome }, ms / 1000)
    gateway.log.info(line, 'client left')
    span?.setStatus({ code: SpanStatusCode.ERROR, message: 'client_closed_request' }).end()
  })
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
  writeError(res, info, res.locals.errorForm)
}
