// The eight upstreams of the matrix: each provider's strict fake, its entry in the config, and how it
// says no in its own form.
import { anthropicFailure, startFakeAnthropic } from '../fakes/anthropic.ts'
import { azureFailure, startFakeAzure } from '../fakes/azure.ts'
import { bedrockFailure, startFakeBedrock } from '../fakes/bedrock.ts'
import { startFakeGemini } from '../fakes/gemini.ts'
import { geminiFailure, geminiRateLimit } from '../fakes/gemini-checks.ts'
import { startFakeMistral } from '../fakes/mistral.ts'
import { mistralFailure } from '../fakes/mistral-checks.ts'
import { startFakeOllama } from '../fakes/ollama.ts'
import type { FakeCounts } from '../fakes/ollama-counts.ts'
import { startFakeOpenAi } from '../fakes/openai.ts'
import { type Behaviour, type Fault, failure, type StatusFault } from '../fakes/openai-behaviour.ts'

/** What every fake understands. */
export interface Act {
  content?: readonly string[]
  toolCalls?: Behaviour['toolCalls']
  chunking?: 'mid-character'
  fault?: Extract<Fault, { kind: 'status' | 'hang' | 'stall' | 'destroy' }>
}

export interface Fake {
  calls: readonly { body: Record<string, unknown> }[]
  counts: FakeCounts
  setBehaviour(act: Act | ((call: { body: Record<string, unknown> }) => Act)): void
  until(condition: (counts: FakeCounts) => boolean): Promise<void>
  close(): Promise<void>
}

export interface Upstream {
  name: string
  fake: Fake
  /** Its `litellm_params`. */
  params: Record<string, unknown>
  /** Says to come back in seven seconds. */
  limited: StatusFault
  /** Has the word `nonsense` in it. */
  refused: StatusFault
  /** What it says beside a tool's call. */
  beside: readonly string[]
  /** The pieces of `{"answer":"42"}`; Ollama's fake puts what it says into JSON by itself. */
  json: readonly string[]
}

const key = 'sk-upstream'
const retry = { 'retry-after': '7' }
const usual = { beside: [], json: ['{"answer":', '"42"}'] }
const limit = 'slow down'
const refusal = 'no such nonsense'
const openAiSays = {
  limited: failure(429, { message: limit, code: 'rate_limit_exceeded' }, retry),
  refused: failure(400, { message: refusal }),
}

/** Each of them listens when it resolves. */
export async function startUpstreams(): Promise<Upstream[]> {
  const [openai, vllm, ollama, anthropic, bedrock, azure, gemini, mistral] = await Promise.all([
    startFakeOpenAi({ apiKey: key }),
    startFakeOpenAi({ flavour: 'vllm' }),
    startFakeOllama({ models: ['llama3.2'] }),
    startFakeAnthropic({ apiKey: key }),
    startFakeBedrock({ accessKeyId: 'AKIDRIGHT' }),
    startFakeAzure({ apiKey: key }),
    startFakeGemini({ apiKey: key }),
    startFakeMistral({ apiKey: key }),
  ])
  const ollamaSays = (status: number, error: string, headers = {}): StatusFault => {
    return { kind: 'status', status, body: JSON.stringify({ error }), headers }
  }
  return [
    {
      name: 'openai',
      fake: openai,
      params: { model: 'openai/gpt-4o-mini', api_base: openai.url, api_key: key },
      ...openAiSays,
      ...usual,
    },
    {
      name: 'hosted_vllm',
      fake: vllm,
      params: { model: 'hosted_vllm/meta-llama/Llama-3.2-3B-Instruct', api_base: vllm.url },
      ...openAiSays,
      ...usual,
    },
    {
      name: 'ollama_chat',
      fake: ollama,
      params: { model: 'ollama_chat/llama3.2', api_base: ollama.url },
      limited: ollamaSays(503, limit, retry),
      refused: ollamaSays(400, refusal),
      beside: ['Let', ' me', ' look'],
      json: ['4', '2'],
    },
    {
      name: 'anthropic',
      fake: anthropic,
      params: { model: 'anthropic/claude-sonnet-4-5', api_base: anthropic.url, api_key: key },
      limited: anthropicFailure(429, 'rate_limit_error', limit, retry),
      refused: anthropicFailure(400, 'invalid_request_error', refusal),
      ...usual,
    },
    {
      name: 'bedrock',
      fake: bedrock,
      params: {
        model: 'bedrock/converse/us.anthropic.claude-sonnet-4-5-20250929-v1:0',
        aws_access_key_id: 'AKIDRIGHT',
        aws_secret_access_key: 'secret',
        aws_region_name: 'eu-central-1',
        aws_bedrock_runtime_endpoint: bedrock.url,
      },
      limited: bedrockFailure(429, 'ThrottlingException', limit, retry),
      refused: bedrockFailure(400, 'ValidationException', refusal),
      ...usual,
    },
    {
      name: 'azure',
      fake: azure,
      params: {
        model: 'azure/gpt-4o-eu',
        api_base: azure.url,
        api_key: key,
        api_version: '2024-10-21',
      },
      limited: { ...azureFailure(429, '429', limit), headers: retry },
      refused: azureFailure(400, 'BadRequest', refusal),
      ...usual,
    },
    {
      name: 'gemini',
      fake: gemini,
      params: { model: 'gemini/gemini-3-flash', api_base: gemini.url, api_key: key },
      limited: geminiRateLimit(7),
      refused: geminiFailure(400, refusal),
      ...usual,
    },
    {
      name: 'mistral',
      fake: mistral,
      params: {
        model: 'mistral/mistral-large-latest',
        api_base: `${mistral.url}/v1`,
        api_key: key,
      },
      limited: { ...mistralFailure(429, 'rate_limited', limit), headers: retry },
      refused: mistralFailure(400, 'invalid_request_error', refusal),
      ...usual,
    },
  ]
}
