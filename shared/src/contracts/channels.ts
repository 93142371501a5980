// THE table of the bus: every stream and every subject, what travels on it and how it is delivered.
// Two subjects never carry the same thing; a service that needs a new channel adds a line here.
import { z } from 'zod'
import { accessVersion, keyLookup, keyLookupReply } from './access.ts'
import { adminQuestion } from './admin.ts'
import { batchChanged, batchReport } from './batch-runner.ts'
import {
  accountRef,
  allowanceQuestion,
  allowanceReply,
  reserveQuestion,
  reserveReply,
  softBudgetReached,
} from './budget.ts'
import { errorInfo } from './errors.ts'
import { serviceHeartbeat, workerHeartbeat } from './fleet.ts'
import { activityPart, activityQuery, totalsPage, totalsQuery } from './reports.ts'
import { requestEnvelope, workEnvelope } from './request.ts'
import {
  requestContent,
  requestContentQuery,
  spendLogsPage,
  spendLogsQuery,
  spendSummary,
  spendSummaryQuery,
} from './spend.ts'
import { usageMessage } from './usage.ts'

const MiB = 1024 * 1024

/**
 * JetStream streams. `work-queue`: a message lives until it is acked. A full stream refuses
 * (`discard: new`), so that what was accepted is never pushed out by what comes later.
 */
export const streams = {
  requests: {
    name: 'PENSTOCK_REQUESTS',
    subjects: ['penstock.requests.*'],
    maxBytes: 512 * MiB,
    duplicateWindowMs: 60_000,
  },
  work: {
    name: 'PENSTOCK_WORK',
    subjects: ['penstock.work.*'],
    maxBytes: 512 * MiB,
    duplicateWindowMs: 60_000,
  },
  usage: {
    name: 'PENSTOCK_USAGE',
    subjects: ['penstock.usage'],
    maxBytes: 1024 * MiB,
    duplicateWindowMs: 120_000,
  },
} as const
export type StreamSpec = (typeof streams)[keyof typeof streams]

/** Large bodies and replies travel by claim check through this object store. */
export const claimStore = { bucket: 'penstock-claims', maxBytes: 2048 * MiB, ttlMs: 60 * 60_000 }

const requestCancel = z.object({ requestId: z.string() })
/** One job that holds, or held, a slot. `hop`: the length of its history when it was routed. */
const slotHolder = z.object({ deploymentId: z.string(), requestId: z.string(), hop: z.int() })
/** How a job ended, as far as routing cares. */
export const jobOutcome = z.object({
  /** Null: answered. */
  error: errorInfo.nullable(),
  /** Slot time, and time to the first token of a stream, in milliseconds. */
  ms: z.number().min(0),
  ttftMs: z.number().min(0).nullable(),
  promptTokens: z.int().min(0),
  completionTokens: z.int().min(0),
})
export type JobOutcome = z.infer<typeof jobOutcome>
export const slotReport = z.object({
  workerId: z.string(),
  /** Jobs that just ended. */
  released: z.array(slotHolder.extend({ outcome: jobOutcome.nullable() })),
  /** Once a second: all that run here, so that a lost report heals. Null in between. */
  running: z.array(slotHolder).nullable(),
})
export type SlotReport = z.infer<typeof slotReport>
/** The state of one model group's queue, as `GET /v1/queue` shows it. */
export const groupQueue = z.object({
  group: z.string(),
  depth: z.int(),
  depthByRank: z.array(z.object({ rank: z.int(), depth: z.int() })),
  oldestWaitMs: z.int(),
  /** Requests that left the queue for a slot, per second, over the last minute. */
  drainPerSecond: z.number(),
  deployments: z.array(
    z.object({
      id: z.string(),
      model: z.string(),
      slots: z.int(),
      inUse: z.int(),
      breaker: z.enum(['closed', 'open', 'half-open']),
      /** Epoch milliseconds at which an open breaker lets a probe through. */
      recoversAt: z.int().nullable(),
    }),
  ),
})
export type GroupQueue = z.infer<typeof groupQueue>
export const queueReport = z.object({ routerId: z.string(), groups: z.array(groupQueue) })

/** What a gateway knows of a request when a redelivered job asks before it runs again. */
export const requestState = z.object({
  state: z.enum(['waiting', 'streaming', 'gone']),
  /** Tokens streamed to the client by the attempt that broke off: one per delta with text. */
  tokensSeen: z.int().min(0),
})
export type RequestState = z.infer<typeof requestState>

export const channels = {
  /** gateway → router; router and worker → router for a retry. Partitioned by model group. */
  requests: {
    delivery: 'work-queue',
    stream: streams.requests,
    subject: (partition: number) => `penstock.requests.${partition}`,
    schema: requestEnvelope,
  },
  /** router → the workers of one deployment. */
  work: {
    delivery: 'work-queue',
    stream: streams.work,
    subject: (deploymentId: string) => `penstock.work.${deploymentId}`,
    schema: workEnvelope,
  },
  /** worker → billing, and gateway → billing for what no attempt will settle. */
  usage: {
    delivery: 'work-queue',
    stream: streams.usage,
    subject: () => 'penstock.usage',
    schema: usageMessage,
  },
  /** worker or router → the gateway that waits. Binary: see bus/frame-codec.ts. */
  frames: {
    delivery: 'at-most-once',
    subject: (gatewayId: string, request: number | '*') =>
      `penstock.frames.${gatewayId}.${request}`,
  },
  /** gateway → everyone who may hold the request. */
  cancel: { delivery: 'broadcast', subject: () => 'penstock.cancel', schema: requestCancel },
  /** gateway → workers and routers, when its connection broke: the last frames once more. */
  resend: {
    delivery: 'broadcast',
    subject: () => 'penstock.resend',
    schema: z.object({ gatewayId: z.string() }),
  },
  /** worker → gateway, request and reply; asked for redelivered jobs only. */
  requestState: {
    delivery: 'request-reply',
    subject: (gatewayId: string) => `penstock.state.${gatewayId}`,
    schema: requestCancel,
    reply: requestState,
  },
  /** worker → routers and gateways, every second. */
  fleet: { delivery: 'broadcast', subject: () => 'penstock.fleet', schema: workerHeartbeat },
  /** A newcomer asks the workers to announce themselves at once. */
  fleetAsk: { delivery: 'broadcast', subject: () => 'penstock.fleet.ask', schema: z.object({}) },
  /** worker → routers: which slots became free, and which are taken. */
  slots: { delivery: 'broadcast', subject: () => 'penstock.slots', schema: slotReport },
  /** router → gateways, every second: the queues of the groups it serves. */
  queues: { delivery: 'broadcast', subject: () => 'penstock.queues', schema: queueReport },
  /** A worker that got a redelivered job asks whether another one still runs it. */
  runningProbe: {
    delivery: 'request-reply',
    subject: () => 'penstock.running',
    schema: requestCancel,
    reply: z.object({ running: z.boolean() }),
  },
  /** every service → gateways, every second. */
  alive: { delivery: 'broadcast', subject: () => 'penstock.alive', schema: serviceHeartbeat },
  /** gateway → one billing service. */
  spendLogs: {
    delivery: 'request-reply',
    subject: () => 'penstock.spend.logs',
    schema: spendLogsQuery,
    reply: spendLogsPage,
  },
  /** gateway → one billing service: whose key is this? */
  keyLookup: {
    delivery: 'request-reply',
    subject: () => 'penstock.keys.lookup',
    schema: keyLookup,
    reply: keyLookupReply,
  },
  /** billing → gateways. */
  access: { delivery: 'broadcast', subject: () => 'penstock.access', schema: accessVersion },
  /** gateway → one billing service: may this request cost so much? */
  reserve: {
    delivery: 'request-reply',
    subject: () => 'penstock.budget.reserve',
    schema: reserveQuestion,
    reply: reserveReply,
  },
  /** gateway → one billing service, one at a time. */
  allowance: {
    delivery: 'request-reply',
    subject: () => 'penstock.budget.allowance',
    schema: allowanceQuestion,
    reply: allowanceReply,
  },
  /** billing → gateways: the account needs what it lent them. */
  recall: { delivery: 'broadcast', subject: () => 'penstock.budget.recall', schema: accountRef },
  /** billing → gateways. */
  softBudget: {
    delivery: 'broadcast',
    subject: () => 'penstock.budget.soft',
    schema: softBudgetReached,
  },
  /** gateway → batch runners: the batch was made, paused, resumed, cancelled or put back. */
  batchChanged: {
    delivery: 'broadcast',
    subject: () => 'penstock.batches.changed',
    schema: batchChanged,
  },
  /** batch runner → gateways, every second. */
  batchReport: {
    delivery: 'broadcast',
    subject: () => 'penstock.batches.report',
    schema: batchReport,
  },
  /** gateway → one billing service: an operation of the admin API; its own schemas are in admin.ts. */
  admin: {
    delivery: 'request-reply',
    subject: () => 'penstock.admin',
    schema: adminQuestion,
    reply: z.unknown(),
  },
  spendSummary: {
    delivery: 'request-reply',
    subject: () => 'penstock.spend.summary',
    schema: spendSummaryQuery,
    reply: spendSummary,
  },
  spendContent: {
    delivery: 'request-reply',
    subject: () => 'penstock.spend.content',
    schema: requestContentQuery,
    reply: requestContent,
  },
  spendTotals: {
    delivery: 'request-reply',
    subject: () => 'penstock.spend.totals',
    schema: totalsQuery,
    reply: totalsPage,
  },
  spendActivity: {
    delivery: 'request-reply',
    subject: () => 'penstock.spend.activity',
    schema: activityQuery,
    reply: activityPart,
  },
} as const

/** REQUESTS is cut into this many parts, so that several routers can share the model groups. */
export const requestPartitions = 8

/** The partition of a model group (FNV-1a): the same one in every process. */
export function partitionOf(group: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < group.length; i++) hash = Math.imul(hash ^ group.charCodeAt(i), 0x01000193)
  return (hash >>> 0) % requestPartitions
}
