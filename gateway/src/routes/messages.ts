// Anthropic's Messages API: answers, and the count of a request's tokens.

import { messages } from '@penstock/shared/dialects/messages/messages'
import { countTokensRequest } from '@penstock/shared/dialects/messages/request'
import { canonicalChat } from '@penstock/shared/dialects/messages/to-canonical'
import { parseFields } from '@penstock/shared/parse-fields'
import type { RequestHandler } from 'express'
import { resolveModel } from '../access/model-access.ts'
import { estimateTokens } from '../estimate-tokens.ts'
import type { Gateway } from '../gateway.ts'
import { parseJson, readBody } from '../read-body.ts'
import { useDialect } from '../read-request.ts'
import { chatRequest, parseRequest } from '../schemas.ts'
import { dialectRoute } from './inference.ts'

export function messagesRoutes(gateway: Gateway) {
  return {
    answer: [nameRequest, ...dialectRoute(gateway, messages)],
    countTokens: [nameRequest, useDialect(messages), countTokens(gateway)],
  }
}

/** Where Anthropic's SDKs look for the id of a request. */
export const nameRequest: RequestHandler = (_req, res, next) => {
  res.setHeader('request-id', res.locals.correlationId)
  next()
}

/** An estimate, made here: no model is asked, so it needs no deployment and costs nothing. */
function countTokens(gateway: Gateway): RequestHandler {
  return async (req, res) => {
    const identity = await gateway.authenticate(req)
    const body = parseJson(await readBody(req))
    const { body: chat } = canonicalChat(parseFields(countTokensRequest, body, 'request'))
    const request = parseRequest(chatRequest, chat)
    resolveModel(gateway, identity, request.model)
    res.json({ input_tokens: estimateTokens(request) })
  }
}
