// OpenAI's Files and Batches as clients see them (https://platform.openai.com/docs/api-reference/batch,
// …/files), with Penstock's additions: used by the gateway's routes, the batch runner and the CLI.
import { z } from 'zod'

const seconds = z.int().min(0)

/** What a line of a batch may ask. */
export const batchEndpoints = [
  '/v1/chat/completions',
  '/v1/completions',
  '/v1/embeddings',
  '/v1/responses',
] as const

export const fileObject = z.object({
  id: z.string(),
  object: z.literal('file'),
  bytes: z.int().min(0),
  created_at: seconds,
  expires_at: seconds.nullable(),
  filename: z.string(),
  purpose: z.string(),
  status: z.enum(['uploaded', 'processed', 'error']),
})
export type FileObject = z.infer<typeof fileObject>

const batchStatuses = [
  'validating',
  'failed',
  'in_progress',
  'finalizing',
  'completed',
  'expired',
  'cancelling',
  'cancelled',
] as const
export const batchStatus = z.enum(batchStatuses)
export type BatchStatus = z.infer<typeof batchStatus>

/** A line that cannot be taken, or why the whole file cannot (`line` null). */
export const batchFault = z.object({
  code: z.string(),
  message: z.string(),
  param: z.string().nullable(),
  line: z.int().min(1).nullable(),
})
export type BatchFault = z.infer<typeof batchFault>

const moment = seconds.nullable()

export const batchObject = z.object({
  id: z.string(),
  object: z.literal('batch'),
  endpoint: z.string(),
  errors: z.object({ object: z.literal('list'), data: z.array(batchFault) }).nullable(),
  input_file_id: z.string(),
  completion_window: z.string(),
  status: batchStatus,
  output_file_id: z.string().nullable(),
  error_file_id: z.string().nullable(),
  created_at: seconds,
  in_progress_at: moment,
  expires_at: moment,
  finalizing_at: moment,
  completed_at: moment,
  failed_at: moment,
  expired_at: moment,
  cancelling_at: moment,
  cancelled_at: moment,
  request_counts: z.object({ total: z.int(), completed: z.int(), failed: z.int() }),
  metadata: z.record(z.string(), z.string()).nullable(),
  // From here on: ours.
  /** No line starts while it is paused, before `not_before`, or outside `window`. */
  paused: z.boolean(),
  not_before: moment,
  window: z.string().nullable(),
  on_budget_exceeded: z.enum(['fail', 'wait']),
  /** Lines done per second over the last minute, and when it should be finished; null: unknown. */
  lines_per_second: z.number().nullable(),
  estimated_completion_at: moment,
})
export type BatchObject = z.infer<typeof batchObject>

/** `22:00-06:00 Europe/Berlin`: hours of every day in a named zone; the zone may be left out (UTC). */
export const offPeakWindow = z
  .string()
  .regex(/^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d( [A-Za-z_+\-/0-9]+)?$/)

export const createBatchRequest = z.looseObject({
  input_file_id: z.string().min(1),
  endpoint: z.enum(batchEndpoints),
  completion_window: z
    .string()
    .regex(/^\d{1,4}[mhd]$/, 'expected a duration like 24h')
    .default('24h'),
  metadata: z.record(z.string().max(64), z.string().max(512)).nullish(),
  output_expires_after: z
    .object({ anchor: z.literal('created_at'), seconds: z.int().min(3600).max(2_592_000) })
    .nullish(),
  /** Epoch seconds, or an ISO moment. */
  not_before: z.union([seconds, z.iso.datetime({ offset: true })]).nullish(),
  window: offPeakWindow.nullish(),
  on_budget_exceeded: z.enum(['fail', 'wait']).default('fail'),
})

/** One line of an input file. */
export const batchLine = z.looseObject({
  custom_id: z.string().min(1).max(512),
  method: z.literal('POST'),
  url: z.string(),
  body: z.looseObject({ model: z.string().min(1) }),
})
