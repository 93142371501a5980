// What an endpoint makes of a line's body: the request as it enters the queue, and the answer as it
// stands in the output file. THE table of the endpoints that batches may name.

import type { FrameEnd, FrameHead } from '@penstock/shared/bus/frame-codec'
import { type ErrorInfo, errorBody, PenstockError } from '@penstock/shared/contracts/errors'
import type { DialectName, Operation } from '@penstock/shared/contracts/request'
import { dialectOf } from '@penstock/shared/dialects/table'
import { parseFields } from '@penstock/shared/parse-fields'
import type { z } from 'zod'
import { dialectErrors, dialectForm } from '../../answer-form.ts'
import { readDialect } from '../../read-request.ts'
import {
  chatRequest,
  completionRequest,
  embeddingRequest,
  type KnownFields,
} from '../../schemas.ts'

export interface PreparedLine {
  operation: Operation
  /** What is read of it here: model, limits, size. */
  request: KnownFields
  /** As the queue carries it. */
  body: Buffer
  dialect: DialectName
  /**
   * The whole answer as JSON text for the output line.
   * @throws PenstockError `upstream_invalid_response`
   */
  answerText(head: FrameHead | null, answer: Uint8Array, end: FrameEnd): string
  /** The body of the error's response. @param requestId the line's */
  errorBody(info: ErrorInfo, requestId: string): object
}

type Prepare = (body: unknown) => PreparedLine

const endpoints: Record<string, Prepare> = {
  '/v1/chat/completions': canonical('chat', chatRequest),
  '/v1/completions': canonical('completion', completionRequest),
  '/v1/embeddings': canonical('embedding', embeddingRequest),
  '/v1/responses': translated('responses'),
  '/v1/messages': translated('messages'),
}

/**
 * @throws PenstockError `invalid_request` naming the field; `unsupported_parameter` for an endpoint
 *   that batches cannot ask
 */
export function prepareLine(endpoint: string, body: unknown): PreparedLine {
  const prepare = Object.hasOwn(endpoints, endpoint) ? endpoints[endpoint] : undefined
  if (prepare === undefined) throw cannotAsk(endpoint)
  return prepare(body)
}

function canonical<S extends z.ZodType<KnownFields>>(operation: Operation, schema: S): Prepare {
  return (body) => ({
    operation,
    request: parseFields(schema, body, 'body'),
    body: Buffer.from(JSON.stringify(body)),
    dialect: 'chat',
    answerText: (_head, answer) => oneLine(answer),
    errorBody,
  })
}

function translated(name: Exclude<DialectName, 'chat'>): Prepare {
  return (body) => {
    const dialect = dialectOf(name)
    if (dialect === null) throw cannotAsk(`the ${name} API`)
    const { operation, request, foreign } = readDialect(dialect, body)
    const fields = foreign === null ? {} : foreign.fields
    return {
      operation,
      request,
      body: Buffer.from(JSON.stringify(body)),
      dialect: name,
      answerText: (head, answer, end) =>
        oneLine(dialectForm(dialect, fields, '').whole(head, answer, end)),
      errorBody: (info, requestId) => dialectErrors(dialect, requestId).body(info),
    }
  }
}

/** The answer as it came: an upstream may have written it over several lines. */
function oneLine(answer: Uint8Array): string {
  const bytes = Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength)
  // Line ends stand only between tokens; a zero byte, which the database does not take, nowhere.
  const isPlain = [0x0a, 0x0d, 0].every((byte) => !bytes.includes(byte))
  const text = bytes.toString('utf8')
  if (isPlain) return text
  try {
    return JSON.stringify(JSON.parse(text))
  } catch (cause) {
    const message = "The upstream's answer is not valid JSON."
    throw new PenstockError('upstream_invalid_response', message, { cause })
  }
}

function cannotAsk(what: string): PenstockError {
  const message = `Batches cannot ask ${what}.`
  return new PenstockError('unsupported_parameter', message, { param: 'endpoint' })
}
