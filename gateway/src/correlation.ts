// The correlation id: taken from the client or made here, echoed, and carried to the last log line.
import { randomUUID } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { RequestHandler } from 'express'

declare global {
  namespace Express {
    interface Locals {
      correlationId: string
    }
  }
}

/** Visible ASCII: it goes into headers and logs as it is. */
const acceptable = /^[\x21-\x7e]{1,200}$/
/** GitLab's own comes first: a proxy on the way may have added the second. */
const headerNames = ['x-gitlab-correlation-id', 'x-request-id', 'x-litellm-call-id'] as const

export const correlate: RequestHandler = (req, res, next) => {
  const id = givenId(req.headers) ?? randomUUID()
  res.locals.correlationId = id
  res.setHeader('x-request-id', id)
  res.setHeader('x-litellm-call-id', id)
  next()
}

function givenId(headers: IncomingHttpHeaders): string | null {
  for (const name of headerNames) {
    const given = headers[name]
    if (typeof given === 'string' && acceptable.test(given)) return given
  }
  return null
}
