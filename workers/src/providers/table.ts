// The one table of providers: adding one is a file beside this one and a line here.
import { anthropic } from './anthropic.ts'
import { azure } from './azure.ts'
import { bedrock } from './bedrock.ts'
import { gemini } from './gemini.ts'
import { codestral, mistral, textCompletionCodestral } from './mistral.ts'
import { ollama } from './ollama.ts'
import { openai, textCompletionOpenai, vllm } from './openai.ts'
import { openAiFamily } from './openai-family.ts'
import type { ProviderEntry } from './provider.ts'
import { sim } from './sim.ts'

export interface TableEntry extends ProviderEntry {
  /** Variables that may hold the base URL where the config names none, the first one set counts. */
  apiBaseEnv?: readonly string[]
  /** Variables that may hold the key, besides `apiKeyEnv`. */
  otherKeyEnv?: readonly string[]
  /** A model's name at the upstream, without what LiteLLM's users write in front of it. */
  modelName?: (written: string) => string
  /** By parameter: the variable that holds a default for it where the config names none. */
  defaultsEnv?: Readonly<Record<string, string>>
}

export const providers: readonly TableEntry[] = [
  openai,
  textCompletionOpenai,
  vllm,
  ollama,
  azure,
  mistral,
  codestral,
  textCompletionCodestral,
  gemini,
  anthropic,
  bedrock,
  ...openAiFamily,
  sim,
]
