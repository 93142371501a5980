// Anthropic's batches over files of lines: its requests as an input file, and the lines of output and
// error files as its results (docs: api/creating-message-batches, api/retrieving-message-batch-results).
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { readLines } from './engine/lines.ts'
import { maxLines } from './engine/validate.ts'

export const messagesEndpoint = '/v1/messages'

const messageRequest = z.looseObject({
  custom_id: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'expected 1 to 64 of A-Z a-z 0-9 _ -'),
  params: z.looseObject({ model: z.string().min(1), stream: z.literal(false).nullish() }),
})
/** The body of a new batch. */
export const messageBatchRequest = z.looseObject({
  requests: z.array(messageRequest).min(1).max(maxLines, `expected at most ${maxLines} requests`),
})
export type MessageRequest = z.infer<typeof messageRequest>

export type MessageResult =
  | { type: 'succeeded'; message: unknown }
  | { type: 'errored'; error: unknown }
  | { type: 'canceled' }
  | { type: 'expired' }

/** A line of the input file, with its end. */
export function inputLine({ custom_id, params: body }: MessageRequest): Buffer {
  const line = { custom_id, method: 'POST', url: messagesEndpoint, body }
  return Buffer.from(`${JSON.stringify(line)}\n`)
}

const answeredLine = z.object({
  custom_id: z.string(),
  response: z.object({ status_code: z.int(), body: z.unknown() }).nullable(),
  error: z.object({ code: z.string() }).nullable(),
})
const askedLine = z.object({ custom_id: z.string() })

/** A line of an output or error file. @throws PenstockError `internal_error` */
export function resultOf(line: string): { customId: string; result: MessageResult } {
  const { custom_id: customId, response, error } = read(answeredLine, line)
  if (response === null) {
    const type = error?.code === 'batch_expired' ? 'expired' : 'canceled'
    return { customId, result: { type } }
  }
  const { status_code: status, body } = response
  return status < 400
    ? { customId, result: { type: 'succeeded', message: body } }
    : { customId, result: { type: 'errored', error: body } }
}

/** Lines of the results, each with its end. */
export async function* resultLines(file: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer, void> {
  for await (const line of textsOf(file)) {
    const { customId, result } = resultOf(line)
    yield resultLine(customId, result)
  }
}

/** The results of a batch whose input was refused: none of its lines was asked. */
export async function* refusedLines(
  input: AsyncIterable<Uint8Array>,
  error: (lineNumber: number) => object,
): AsyncGenerator<Buffer, void> {
  let number = 0
  for await (const line of textsOf(input)) {
    number += 1
    const { custom_id: customId } = read(askedLine, line)
    yield resultLine(customId, { type: 'errored', error: error(number) })
  }
}

async function* textsOf(file: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  for await (const { bytes } of readLines(file)) {
    if (bytes === null) throw new PenstockError('internal_error', 'A result is too long to read.')
    if (bytes.length > 0) yield bytes.toString('utf8')
  }
}

function resultLine(customId: string, result: MessageResult): Buffer {
  return Buffer.from(`${JSON.stringify({ custom_id: customId, result })}\n`)
}

/** Of a file that we wrote. */
function read<S extends z.ZodType>(schema: S, line: string): z.output<S> {
  try {
    return schema.parse(JSON.parse(line))
  } catch (cause) {
    throw new PenstockError('internal_error', 'A file of the batch is not readable.', { cause })
  }
}
