// Core NATS request and reply, validated on both sides. An error crosses as an ErrorInfo.
import { type Msg, type Subscription, TimeoutError } from '@nats-io/transport-node'
import { z } from 'zod'
import { errorInfo, PenstockError, toErrorInfo } from '../contracts/errors.ts'
import { parseJson } from './broadcast.ts'
import type { Bus } from './connect.ts'
import { decodeEnvelope, encodeEnvelope } from './envelope-codec.ts'

interface Exchange<Q extends z.ZodType, A extends z.ZodType> {
  schema: Q
  reply: A
}

/** An answer and bytes that go on as they are: a long list, written once. */
export interface WithBody<A> {
  answer: A
  body: Uint8Array
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
  const data = await request(bus, channel, subject, question, timeoutMs)
  const answer = parseJson(channel.reply, data)
  if (answer === null) throw odd(subject)
  return answer
}

/** The same where the answer carries a body. */
export async function askForBody<Q extends z.ZodType, A extends z.ZodType>(
  bus: Bus,
  channel: Exchange<Q, A>,
  subject: string,
  question: z.input<Q>,
  timeoutMs: number,
): Promise<WithBody<z.output<A>>> {
  const data = await request(bus, channel, subject, question, timeoutMs)
  try {
    const { envelope, body } = decodeEnvelope(channel.reply, data)
    return { answer: envelope, body }
  } catch {
    throw odd(subject)
  }
}

/** @returns the reply's bytes, which tell of no failure */
async function request<Q extends z.ZodType>(
  bus: Bus,
  { schema }: { schema: Q },
  subject: string,
  question: z.input<Q>,
  timeoutMs: number,
): Promise<Uint8Array> {
  let data: Uint8Array
  try {
    const payload = JSON.stringify(schema.parse(question))
    const msg = await bus.nc.request(subject, payload, { timeout: timeoutMs })
    data = msg.data
  } catch (cause) {
    throw new PenstockError('service_unavailable', `Nobody answers on ${subject}.`, { cause })
  }
  const mayHaveFailed = failurePrefix.equals(data.subarray(0, failurePrefix.length))
  const failed = mayHaveFailed ? parseJson(failure, data) : null
  if (failed === null) return data
  const { code, message, ...details } = failed.failed
  throw new PenstockError(code, message, details)
}

const odd = (subject: string) => new PenstockError('internal_error', `Odd answer on ${subject}.`)

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
  const written = async (question: z.output<Q>) =>
    JSON.stringify(channel.reply.parse(await handle(question)))
  return respond(bus, channel.schema, subject, written, queue)
}

/** The same where the answer carries a body. */
export function answerWithBody<Q extends z.ZodType, A extends z.ZodType>(
  bus: Bus,
  channel: Exchange<Q, A>,
  subject: string,
  handle: (question: z.output<Q>) => Promise<WithBody<z.input<A>>>,
  queue?: string,
): Subscription {
  const written = async (question: z.output<Q>) => {
    const { answer: given, body } = await handle(question)
    return encodeEnvelope(channel.reply.parse(given) as object, body)
  }
  return respond(bus, channel.schema, subject, written, queue)
}

function respond<Q extends z.ZodType>(
  bus: Bus,
  schema: Q,
  subject: string,
  written: (question: z.output<Q>) => Promise<string | Uint8Array>,
  queue: string | undefined,
): Subscription {
  const reply = async (msg: Msg) => {
    try {
      const question = parseJson(schema, msg.data)
      if (question === null) throw new PenstockError('invalid_request', 'Odd question.')
      msg.respond(await written(question))
    } catch (cause) {
      msg.respond(JSON.stringify({ failed: toErrorInfo(cause) }))
    }
  }
  // The connection was closed while the answer was made: nobody can be told any more.
  const unheard = () => undefined
  return bus.nc.subscribe(subject, {
    ...(queue === undefined ? {} : { queue }),
    callback: (error, msg) => {
      if (error === null) reply(msg).catch(unheard)
    },
  })
}
