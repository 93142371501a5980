// What a route makes of a request before it is admitted: OpenAI's fields, in whichever dialect it came,
// and how its client is told of errors from then on.
import type { Operation } from '@penstock/shared/contracts/request'
import type { Dialect, Fields } from '@penstock/shared/dialects/dialect'
import { parseFields } from '@penstock/shared/parse-fields'
import type { Request, RequestHandler, Response } from 'express'
import { z } from 'zod'
import type { ResolvedModel } from './access/model-access.ts'
import { dialectErrors, type ErrorForm } from './answer-form.ts'
import type { Identity } from './auth.ts'
import {
  chatRequest,
  completionRequest,
  embeddingRequest,
  type KnownFields,
  parseRequest,
} from './schemas.ts'

declare global {
  namespace Express {
    interface Locals {
      /** OpenAI's where there is none. */
      errorForm?: ErrorForm
    }
  }
}

/** A request as the gateway reads it: OpenAI's fields, whatever dialect it came in. */
export interface ReadRequest {
  operation: Operation
  request: KnownFields
  /** As the client sent it, where it has to be translated; null: it is OpenAI's own. */
  foreign: { dialect: Dialect; fields: Fields } | null
  /** In place of the client's own bytes. */
  body?: Buffer
  /** The answer where no model is asked; sent once it is clear that the caller may use the model. */
  reply?: Fields | ((res: Response, resolved: ResolvedModel) => Promise<void>)
}

/** @throws PenstockError, or its promise: `invalid_request` and its like */
export type ReadForm = (
  value: unknown,
  req: Request,
  identity: Identity,
) => ReadRequest | Promise<ReadRequest>

const schemas = { chat: chatRequest, completion: completionRequest, embedding: embeddingRequest }

/** Errors of what follows are told as this dialect's clients know them. */
export function useDialect(dialect: Dialect): RequestHandler {
  return (_req, res, next) => {
    res.locals.errorForm = dialectErrors(dialect, res.locals.correlationId)
    next()
  }
}

/** @throws PenstockError `invalid_request` */
export function readDialect(dialect: Dialect, value: unknown): ReadRequest {
  const fields = parseFields(z.record(z.string(), z.unknown()), value, 'request')
  const { operation, body } = dialect.toCanonical(fields)
  const request = parseRequest(schemas[operation], body)
  return { operation, request, foreign: { dialect, fields } }
}

/** Longer than any list of Anthropic's betas. */
const maxHeaderLength = 2_000

/** What the worker is told of a dialect's request. */
export function dialectFields({ name, headers = [] }: Dialect, req: Request) {
  const dialectHeaders: Record<string, string> = {}
  for (const header of headers) {
    const value = req.headers[header]
    if (typeof value === 'string' && value.length <= maxHeaderLength) dialectHeaders[header] = value
  }
  return { dialect: name, dialectHeaders }
}
