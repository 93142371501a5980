// What workers announce every second. Router and gateway know the fleet only from these heartbeats,
// so a GPU host joins, changes or leaves without an edit anywhere else.
import { z } from 'zod'
import { configuredPrices, priceRef } from './usage.ts'

export const deploymentInfo = z.object({
  id: z.string(),
  /** The model group (LiteLLM's `model_name`) this deployment serves. */
  group: z.string(),
  provider: z.string(),
  model: z.string(),
  /** Concurrent calls the deployment takes, all workers together. */
  slots: z.int().min(1),
  weight: z.number().positive().nullable(),
  /** LiteLLM's `order`: a lower one is tried first. */
  order: z.int().nullable(),
  rpm: z.number().positive().nullable(),
  tpm: z.number().positive().nullable(),
  tags: z.array(z.string()),
  locality: z.enum(['local', 'cloud']),
  maxInputTokens: z.int().nullable(),
  /** The most it can answer with, where configured. */
  maxOutputTokens: z.int().nullable(),
  /** US dollars per token, where configured. */
  inputCostPerToken: z.number().nullable(),
  outputCostPerToken: z.number().nullable(),
  cooldownMs: z.int().min(0).nullable(),
  /** For the books: the upstream without credentials, and where its price is found. */
  apiBase: z.string().nullable(),
  priceRef: priceRef.nullable(),
  prices: configuredPrices.nullable(),
})
export type DeploymentInfo = z.infer<typeof deploymentInfo>

export const workerHeartbeat = z.object({
  workerId: z.string(),
  /** A draining worker finishes what it runs and takes nothing new. */
  draining: z.boolean(),
  deployments: z.array(deploymentInfo),
  /** Other names of the groups it serves: alias → group. */
  aliases: z.record(z.string(), z.string()),
})
export type WorkerHeartbeat = z.infer<typeof workerHeartbeat>

/** Every service says each second that it lives and what, if anything, it lacks. */
export const serviceHeartbeat = z.object({
  service: z.enum(['gateway', 'router', 'worker', 'billing']),
  id: z.string(),
  /** Names of failing dependencies, with the reason: `database: connection refused`. */
  problems: z.array(z.string()),
})
export type ServiceHeartbeat = z.infer<typeof serviceHeartbeat>
