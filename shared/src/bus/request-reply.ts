// Core NATS request and reply, validated on both sides. An error crosses as an ErrorInfo.
import { type Msg, type Subscription, TimeoutError } from '@nats-io/transport-node'
import { z } from 'zod'
import { errorInfo, PenstockError, toErrorInfo } from '../contracts/errors.ts'
import { parseJson } from './broadcast.ts'
import type { Bus } from './connect.ts'

interface Exchange<Q extends z.ZodType, A extends z.ZodType> {
  schema: Q
  reply: A
}

const failure = z.object({ failed: errorInfo })
/** How one begins. Finding out by the schema that an answer is none takes longer than its own parsing. */
const failurePrefix = Buffer.from('{"failed":')

/**
 * @throws PenstockError: the answering service's own error, or `service_unavailable` when nobody
 *   answers within `timeoutMs`.
 */
export async function ask<Q extends z.ZodType, A extends z.ZodType>(
  bus: Bus,
  channel: Exchange<Q, A>,
  subject: string,
  question: z.input<Q>,
  timeoutMs: number,
): Promise<z.output<A>> {
  let data: Uint8Array
  try {
    const payload = JSON.stringify(channel.schema.parse(question))
    const msg = await bus.nc.request(subject, payload, { timeout: timeoutMs })
    data = msg.data
  } catch (cause) {
    throw new PenstockError('service_unavailable', `Nobody answers on ${subject}.`, { cause })
  }
  const mayHaveFailed = failurePrefix.equals(data.subarray(0, failurePrefix.length))
  const failed = mayHaveFailed ? parseJson(failure, data) : null
  if (failed !== null) {
    const { code, message, ...details } = failed.failed
    throw new PenstockError(code, message, details)
  }
  const answer = parseJson(channel.reply, data)
  if (answer === null) throw new PenstockError('internal_error', `Odd answer on ${subject}.`)
  return answer
}

/**
 * Of what `ask` threw: the time was over, so that the question may have been handled, or may be yet.
 * False where nobody was there to hear it.
 */
export function isUnanswered(error: unknown): boolean {
  return error instanceof PenstockError && error.cause instanceof TimeoutError
}

/** `queue`: one member of the queue group answers each question. */
export function answer<Q extends z.ZodType, A extends z.ZodType>(
  bus: Bus,
  channel: Exchange<Q, A>,
  subject: string,
  handle: (question: z.output<Q>) => Promise<z.input<A>> | z.input<A>,
  queue?: string,
): Subscription {
  const reply = async (msg: Msg) => {
    try {
      const question = parseJson(channel.schema, msg.data)
      if (question === null) throw new PenstockError('invalid_request', 'Odd question.')
      msg.respond(JSON.stringify(channel.reply.parse(await handle(question))))
    } catch (cause) {
      msg.respond(JSON.stringify({ failed: toErrorInfo(cause) }))
    }
  }
  return bus.nc.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (error, msg) => {
      if (error === null) void reply(msg)
    },
  })
}
