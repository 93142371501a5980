// The flags of `penstock batch …`, checked: every fault is named after the flag or variable it came
// from. The key is never part of a message.
import { resolve } from 'node:path'
import {
  batchEndpoints,
  createBatchRequest,
  offPeakWindow,
} from '@penstock/shared/contracts/batches'
import { z } from 'zod'
import { UsageError } from '../settings.ts'

const text = z.string().trim().min(1, 'must not be empty')

const serverUrl = z
  .string()
  .refine((value) => /^https?:$/.test(URL.parse(value)?.protocol ?? ''), {
    error: 'must be a URL like http://127.0.0.1:4000',
  })
  // With or without /v1, as OPENAI_BASE_URL has it.
  .transform((value) => value.replace(/\/+$/, '').replace(/\/v1$/, ''))

/** `2026-03-01T22:00`, in this machine's zone where it names none. */
const moment = z
  .string()
  .refine((value) => /^\d{4}-\d\d-\d\d/.test(value) && !Number.isNaN(Date.parse(value)), {
    error: 'must be a moment like 2026-03-01T22:00 or 2026-03-01T22:00:00+01:00',
  })
  .transform((value) => new Date(value).toISOString())

const server = {
  url: serverUrl.default('http://127.0.0.1:4000'),
  // Whatever is not visible ASCII cannot stand in a header.
  key: z
    .string()
    .regex(/^[\x21-\x7e]+$/, 'must be an API key')
    .optional(),
}

/** How a batch is to run. */
const plan = {
  completionWindow: z
    .string()
    .regex(/^\d{1,4}[mhd]$/, 'must be a duration like 24h')
    .default('24h'),
  notBefore: moment.optional(),
  window: z
    .string()
    .refine((value) => offPeakWindow.safeParse(value).success, {
      error: 'must be hours like "22:00-06:00 Europe/Berlin"',
    })
    .optional(),
  onBudgetExceeded: createBatchRequest.shape.on_budget_exceeded,
  cancelOnInterrupt: z.boolean().default(false),
  fresh: z.boolean().default(false),
}

const path = text.transform((value) => resolve(value))

export const serverOptions = z.object(server)
export type ServerOptions = z.output<typeof serverOptions>

export const runOptions = z.object({
  ...server,
  ...plan,
  out: path,
  model: text.optional(),
  endpoint: z.enum(batchEndpoints, `must be one of ${batchEndpoints.join(', ')}`).optional(),
})
export type RunOptions = z.output<typeof runOptions>

export const summarizeOptions = z.object({
  ...server,
  ...plan,
  model: text,
  promptFile: path,
  outSuffix: z
    .string()
    .regex(/^[^/\\]{2,64}$/, 'must be the end of a file name, like .summary.md')
    .default('.summary.md'),
  ext: z
    .string()
    .transform((value) => value.split(',').map((ending) => ending.trim().replace(/^\./, '')))
    .refine((endings) => endings.every((ending) => ending !== ''), {
      error: 'must be endings like txt,md',
    })
    .optional(),
})
export type SummarizeOptions = z.output<typeof summarizeOptions>
export type PlanOptions = Pick<SummarizeOptions, keyof typeof plan>

export const listOptions = z.object({
  ...server,
  limit: z
    .string()
    .regex(/^([1-9]\d?|100)$/, 'must be a number from 1 to 100')
    .transform(Number)
    .default(20),
  json: z.boolean().default(false),
})

export const batchOptions = z.object({ ...server, json: z.boolean().default(false) })

const variables: Record<string, string> = { url: 'PENSTOCK_URL', key: 'PENSTOCK_API_KEY' }

/**
 * @param given the flags; one wins over its variable, and an empty variable counts as unset
 * @throws UsageError with one line per fault
 */
export function parseOptions<S extends z.ZodType>(
  schema: S,
  given: Record<string, unknown>,
  env: NodeJS.ProcessEnv,
): z.output<S> {
  const fromEnv = Object.entries(variables).map(([name, variable]) => [
    name,
    env[variable] === '' ? undefined : env[variable],
  ])
  const parsed = schema.safeParse({ ...Object.fromEntries(fromEnv), ...given })
  if (parsed.success) return parsed.data
  throw new UsageError(
    parsed.error.issues.map(
      ({ path, message }) => `${sourceOf(String(path[0]), given)} ${message}`,
    ),
  )
}

function sourceOf(name: string, given: Record<string, unknown>): string {
  const variable = variables[name]
  if (variable !== undefined && given[name] === undefined) return variable
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
}
