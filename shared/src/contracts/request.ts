// What travels through REQUESTS and WORK: an envelope in JSON and, behind it, the client's own body
// bytes, which nobody on the way parses (see codec.ts for the layout on the wire).
import { z } from 'zod'
import { errorInfo } from './errors.ts'

/** What every provider may be asked for; and what some have a route for, whose answers are whole. */
const textOperations = ['chat', 'completion', 'embedding'] as const
export const routedOperations = [
  'moderation',
  'rerank',
  'image',
  'speech',
  'transcription',
  'translation',
] as const
/** Of the routed ones those with a file: their body is an upload (see shared/upload.ts). */
const uploadOperations = ['transcription', 'translation'] as const
export type TextOperation = (typeof textOperations)[number]
export type RoutedOperation = (typeof routedOperations)[number]
export type UploadOperation = (typeof uploadOperations)[number]
export const operation = z.enum([...textOperations, ...routedOperations])
export type Operation = z.infer<typeof operation>

export function isUpload(operation: Operation): operation is UploadOperation {
  return uploadOperations.some((one) => one === operation)
}

/** The form of a client's request and of its answer; `chat` is OpenAI's own, the canonical one. */
export const dialectName = z.enum([
  'chat',
  'messages',
  'responses',
  'ollama-chat',
  'ollama-generate',
  'ollama-embed',
])
export type DialectName = z.infer<typeof dialectName>

/**
 * Priority classes: OpenAI's `service_tier`, and batch lines below them. LiteLLM's `priority` number
 * (a lower one first, 0 the default) shifts a request within the room around its class.
 */
export const ranks = { priority: 0, default: 1_000, flex: 2_000, batch: 3_000 } as const

/** No client's request comes so low, however far its `priority` shifts it. */
export function isBatchLine({ rank }: { rank: number }): boolean {
  return rank >= ranks.batch
}

/** Who asked, by ids: neither a key nor its hash enters a message. */
export const caller = z.object({
  keyId: z.string().nullable(),
  userId: z.string().nullable(),
  teamId: z.string().nullable(),
  /** The OpenAI field `user`. */
  endUser: z.string().nullable(),
})
export type Caller = z.infer<typeof caller>

/** One line of the routing slip: an attempt that did not answer. `deliveries` counts its runs. */
export const attemptRecord = z.object({
  deploymentId: z.string(),
  group: z.string(),
  error: errorInfo,
  /** Epoch milliseconds. */
  at: z.int(),
})
export type AttemptRecord = z.infer<typeof attemptRecord>

/** Where the body is: right behind the envelope, or in the object store under `claim`. */
const bodyPlace = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('inline') }),
  z.object({ kind: z.literal('claim'), claim: z.string(), bytes: z.int() }),
])

export const requestEnvelope = z.object({
  id: z.string(),
  correlationId: z.string(),
  operation,
  /** What the body is written in. */
  dialect: dialectName.default('chat'),
  /** Headers that its dialect means for an upstream which speaks it too; names in lower case. */
  dialectHeaders: z.record(z.string(), z.string()).default({}),
  stream: z.boolean(),
  /** The client asked for `stream_options.include_usage`. */
  includeUsage: z.boolean(),
  /** The model as the client wrote it. */
  requestedModel: z.string(),
  /** The same with an alias resolved, and the model group it belongs to (`openai/*`). */
  model: z.string(),
  group: z.string(),
  /** Model groups that fallbacks may lead to, those the key may use; null: any. */
  allowedGroups: z.array(z.string()).nullable().default(null),
  /** Tokens that were reserved for an answer which the request does not bound: no more are asked for,
   *  unless the deployment has a bound of its own. Null: nothing was reserved. */
  answerLimit: z.int().positive().nullable().default(null),
  /** The gateway that waits, and the subject on which it listens for this request's frames. */
  gatewayId: z.string(),
  replyTo: z.string(),
  /** Epoch milliseconds. The deadline covers everything, the wait in queues included. */
  receivedAt: z.int(),
  deadline: z.int(),
  caller,
  /** The group in which it waits now: the one asked for, or a fallback. */
  waitsIn: z.string(),
  /** Priority class, a lower one first: see `ranks`. */
  rank: z.int(),
  /** Whose fair share it takes (team, else key, else user), and how much that share weighs. */
  sharer: z.string(),
  weight: z.number().positive(),
  /** The data must not leave local deployments. */
  local: z.boolean(),
  /** Longest wait for a slot, in milliseconds; null: until the deadline. */
  maxQueueWaitMs: z.int().positive().nullable(),
  /** Rough size of the prompt, and the most tokens the answer may have. */
  promptTokens: z.int().min(0),
  maxTokens: z.int().nullable(),
  /** Hashes of the conversation up to each message, for prefix affinity; empty where unused. */
  prefixes: z.array(z.string()),
  tags: z.array(z.string()),
  sessionId: z.string().nullable(),
  /** Keep prompt and reply with the request's row. */
  storePrompts: z.boolean(),
  body: bodyPlace,
  /** Attempts so far, oldest first; a retry is this same message with one more line. */
  history: z.array(attemptRecord),
})
export type RequestEnvelope = z.infer<typeof requestEnvelope>

/** A request tied to one deployment. Its attempt number is history.length + the delivery count. */
export const workEnvelope = requestEnvelope.extend({
  deploymentId: z.string(),
  /** The group and model that serve it: those asked for, or a fallback's. */
  servingGroup: z.string(),
  servingModel: z.string(),
  /** Epoch milliseconds at which the router handed it over. */
  routedAt: z.int(),
  /** It waited when NATS was restarted, and may have been routed before: ask before it runs. */
  mayHaveRun: z.boolean(),
  /** Why the router chose this deployment, for the trace. */
  reasons: z.array(z.string()),
})
export type WorkEnvelope = z.infer<typeof workEnvelope>
