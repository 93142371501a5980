// The routes that ask a model: read, validate, dispatch, write. What differs between chat,
// completions and embeddings is a schema each; the way is the same.

import { toErrorInfo } from '@penstock/shared/contracts/errors'
import type { Operation } from '@penstock/shared/contracts/request'
import type { Dialect } from '@penstock/shared/dialects/dialect'
import { timeOrderedId } from '@penstock/shared/ids'
import type { RequestHandler, Response } from 'express'
import type { z } from 'zod'
import { resolveModel } from '../access/model-access.ts'
import type { Admitted } from '../admission/admission.ts'
import { writeError } from '../answer.ts'
import { type Asked, answerRequest } from '../answer-request.ts'
import type { Identity } from '../auth.ts'
import type { Gateway } from '../gateway.ts'
import { type Receive, receiveJson } from '../read-body.ts'
import { type ReadForm, readDialect, useDialect } from '../read-request.ts'
import { requestFacts } from '../request-facts.ts'
import { planReuse } from '../reuse.ts'
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
    // A remembered key, as nearly all are, costs not even a turn of the event loop.
    const asker = gateway.authenticate(req)
    const identity = asker instanceof Promise ? await asker : asker
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
    const known = requestFacts(gateway, { from: req, request, identity, resolved })
    const facts = known instanceof Promise ? await known : known
    const id = timeOrderedId()
    const { requestTimeoutMs: timeoutMs } = gateway.config
    const asked: Asked = {
      id,
      operation,
      req,
      res,
      receivedAt,
      timeoutMs,
      request,
      foreign,
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
      admit: () => admission(gateway, identity, asked),
    })
    const pass = reuse === null ? admit(gateway, identity, asked) : reuse.admitted
    const admitted = pass instanceof Promise ? await pass : pass
    // Its client left meanwhile: that is announced once, and nobody listened.
    if (res.closed) {
      admitted.settled({ kind: 'unsent' })
      const { correlationId } = res.locals
      const { group } = resolved
      gateway.log.info({ correlationId, group, operation, status: 499 }, 'client left')
      return
    }
    answerRequest(gateway, asked, admitted, reuse ?? gateway.dispatcher)
  }
}

/** Only a key with limits in Redis or with a budget has to wait. */
function admit(gateway: Gateway, identity: Identity, asked: Asked): Admitted | Promise<Admitted> {
  const { operation, facts, receivedAt } = asked
  const refused = (cause: unknown): never => {
    const { code: outcome } = toErrorInfo(cause)
    const seconds = (Date.now() - receivedAt) / 1000
    gateway.metrics.answered({ operation, group: facts.group, outcome }, seconds)
    throw cause
  }
  try {
    const pass = admission(gateway, identity, asked)
    return pass instanceof Promise ? pass.catch(refused) : pass
  } catch (cause) {
    return refused(cause)
  }
}

/** @throws PenstockError, or its promise, where the request may not run */
function admission(
  gateway: Gateway,
  identity: Identity,
  { id: requestId, operation, res, request, facts, body, receivedAt, timeoutMs }: Asked,
): Admitted | Promise<Admitted> {
  const { model, group, allowedGroups, promptTokens } = facts
  return gateway.admission.admit({
    requestId,
    facts: identity.facts,
    operation,
    model,
    group,
    allowedGroups,
    request,
    bodyBytes: body.length,
    promptTokens,
    receivedAt,
    timeoutMs,
    onHeader(name, value) {
      // One that waited for another one's answer first may have been told so.
      if (!res.headersSent) res.setHeader(name, value)
    },
  })
}

/** The last stop of everything that a route throws. */
export function failWith(gateway: Gateway, error: unknown, res: Response): void {
  const info = toErrorInfo(error)
  const line = { correlationId: res.locals.correlationId, code: info.code, status: info.status }
  if (info.code === 'internal_error') gateway.log.error({ ...line, err: error }, 'request failed')
  else gateway.log.info(line, 'request refused')
  writeError(res, info, res.locals.errorForm)
}
