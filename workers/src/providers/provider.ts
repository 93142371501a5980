// The contract between run-job.ts and a provider: one canonical (OpenAI-shaped) request in,
// canonical bytes and a token count out. Adding a provider is one file and one line in table.ts.
import type { Deployment } from '@penstock/shared/config/deployment'
import type {
  DialectName,
  Operation,
  RoutedOperation,
  TextOperation,
} from '@penstock/shared/contracts/request'
import type { TokenUsage } from '@penstock/shared/contracts/usage'
import type { UploadedFile } from '@penstock/shared/upload'

/** A request that needs no translation: its client speaks what the upstream does. */
export interface NativeCall {
  dialect: DialectName
  /** The client's, as far as the dialect means them for the upstream; names in lower case. */
  headers: Readonly<Record<string, string>>
}

/**
 * What a chat may hold besides OpenAI's fields once it was translated, for providers that read it:
 * Anthropic's `thinking` with its `thinking_blocks`, `cache_control`, a message's `reasoning_content`.
 */
export type ChatExtension = 'thinking' | 'cache_control' | 'reasoning_content'

export interface ProviderCall<O extends Operation = TextOperation> {
  operation: O
  /**
   * Present only if the entry names the dialect in `native`: `body` is then the client's own without
   * the deployment's defaults; the reply's bytes go back as they come, to `emit` or in the result.
   */
  native?: NativeCall
  /** Of an upload; `body` has the form's other fields, as texts. */
  file?: UploadedFile
  /** The client's request in OpenAI's form, the deployment's own defaults already merged in. */
  body: Record<string, unknown>
  stream: boolean
  /** The client wants the usage chunk. Ask the upstream for it in any case. */
  includeUsage: boolean
  deployment: Deployment
  /** The model's name at the upstream: the deployment's `model` without the provider's prefix. */
  model: string
  /** Aborted when the client leaves, a time-out passes or the worker is told to stop. */
  signal: AbortSignal
  /**
   * Streaming only: sends whole canonical SSE events (`data: {…}\n\n`, one or several) to the client.
   * `data: [DONE]` is not the provider's to send: the gateway closes the stream.
   */
  emit(events: Uint8Array): void
}

export interface ProviderResult {
  /** The canonical JSON reply; null for a stream. */
  body: Uint8Array | null
  /** Of a body that is not JSON. */
  contentType?: string
  /** Null where the upstream reported none: run-job.ts then counts. */
  usage: TokenUsage | null
}

export interface Provider {
  /**
   * Runs one call to its end. Resolves only if the upstream's answer was complete.
   * @throws PenstockError with an `upstream_…` code (status, Retry-After kept) for every other end;
   *   whatever the signal's abort throws when it was aborted.
   */
  run(call: ProviderCall): Promise<ProviderResult>
  /** Operations that its upstreams have routes of their own for; absent: none. */
  routed?: RoutedOperations
}

export interface RoutedOperations {
  operations: readonly RoutedOperation[]
  /** Never streamed. @throws as `run` */
  run(call: ProviderCall<RoutedOperation>): Promise<ProviderResult>
}

export interface ProviderEntry {
  provider: Provider
  /** LiteLLM's prefixes: `ollama` in `ollama/llama3`. */
  prefixes: readonly string[]
  /** Matches bare model names that belong to this provider (`gpt-4o`). */
  owns?: RegExp
  /** Dialects besides the canonical one that its upstreams speak themselves. */
  native?: readonly DialectName[]
  /** What it takes of translated chats; none by default. */
  extensions?: readonly ChatExtension[]
  /** Slots of a deployment that sets no `max_parallel_requests`. */
  slots: number
  /** Where data sent there ends up, unless the config or a private address says otherwise. */
  locality: 'local' | 'cloud'
  /** The upstream's base URL and the variable that holds its key, where the config names none. */
  apiBase?: string
  apiKeyEnv?: string
  /** The name under which `@pydantic/genai-prices` knows this provider; absent: not sold. */
  pricesAs?: string
}
