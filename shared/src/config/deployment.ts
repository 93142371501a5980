// One entry of `model_list`, resolved: what a worker needs to call an upstream and what the router
// needs to choose. The provider is still only a prefix here; workers/src/providers knows the names.
import type { ConfiguredPrices } from '../contracts/usage.ts'

export interface Deployment {
  /** `model_info.id`, or a hash of what the entry is, without its secrets and limits: equal configs
   *  give equal ids, and a change of its slots or time limits keeps it. */
  id: string
  /** `model_name`. */
  group: string
  /** `litellm_params.model` as written: `ollama_chat/llama3`, `gpt-4o`. */
  model: string
  apiBase: string | null
  apiKey: string | null
  organization: string | null
  extraHeaders: Record<string, string>
  /** Whole call, and time to the first chunk of a stream; null: the global setting or none. */
  timeoutMs: number | null
  streamTimeoutMs: number | null
  maxParallelRequests: number | null
  rpm: number | null
  tpm: number | null
  weight: number | null
  order: number | null
  cooldownMs: number | null
  tags: string[]
  dropParams: boolean
  additionalDropParams: string[]
  /** Every other litellm_param: a default for the request's body (`temperature`, `keep_alive`). */
  defaults: Record<string, unknown>
  prices: ConfiguredPrices | null
  baseModel: string | null
  mode: string | null
  maxInputTokens: number | null
  maxOutputTokens: number | null
  dataLocality: 'local' | 'cloud' | null
  /** `litellm_params.mock_response`: answer this without any upstream. */
  mockResponse: string | null
}
