// The providers that speak OpenAI's API and differ in data alone: address, key, price list, routes and
// what each is known to refuse. Whoever is not here is reached as `openai/…` with an `api_base`.

import { everything, openAiCompatible } from './openai.ts'
import type { OpenAiDialect } from './openai-request.ts'
import { always, type Refusals, unlessEmpty, unlessFalse, unlessOne } from './refusals.ts'
import type { TableEntry } from './table.ts'

interface Member extends Partial<OpenAiDialect> {
  prefix: string
  apiBase: string
  apiBaseEnv?: readonly string[]
  apiKeyEnv: string
  otherKeyEnv?: readonly string[]
  /** As `@pydantic/genai-prices` calls it; absent: a local server. */
  pricesAs?: string
}

/** console.groq.com/docs/openai, "Currently Unsupported OpenAI Features": a 400 for each of them. */
const groqRefuses: Refusals = new Map([
  ['logprobs', unlessFalse],
  ['top_logprobs', always],
  ['logit_bias', unlessEmpty],
  ['n', unlessOne],
])

// Addresses and variables as LiteLLM knows them. A cloud is taken to be strict: what was meant for
// the gateway is none of its business, even where it would ignore it.
const members: readonly Member[] = [
  {
    prefix: 'deepseek',
    apiBase: 'https://api.deepseek.com/v1',
    apiBaseEnv: ['DEEPSEEK_API_BASE'],
    apiKeyEnv: 'DEEPSEEK_API_KEY',
    pricesAs: 'deepseek',
    operations: ['chat'],
  },
  {
    prefix: 'groq',
    apiBase: 'https://api.groq.com/openai/v1',
    apiBaseEnv: ['GROQ_API_BASE'],
    apiKeyEnv: 'GROQ_API_KEY',
    pricesAs: 'groq',
    operations: ['chat'],
    // console.groq.com/docs: "Speech to Text", "Text to Speech".
    routed: ['speech', 'transcription', 'translation'],
    refusals: groqRefuses,
  },
  {
    prefix: 'together_ai',
    apiBase: 'https://api.together.xyz/v1',
    apiBaseEnv: ['TOGETHER_AI_API_BASE'],
    apiKeyEnv: 'TOGETHERAI_API_KEY',
    otherKeyEnv: ['TOGETHER_API_KEY', 'TOGETHER_AI_API_KEY', 'TOGETHER_AI_TOKEN'],
    pricesAs: 'together',
    routed: ['rerank', 'image'],
  },
  {
    prefix: 'openrouter',
    apiBase: 'https://openrouter.ai/api/v1',
    apiBaseEnv: ['OPENROUTER_API_BASE'],
    apiKeyEnv: 'OPENROUTER_API_KEY',
    otherKeyEnv: ['OR_API_KEY'],
    pricesAs: 'openrouter',
  },
  {
    prefix: 'xai',
    apiBase: 'https://api.x.ai/v1',
    apiBaseEnv: ['XAI_API_BASE'],
    apiKeyEnv: 'XAI_API_KEY',
    pricesAs: 'x-ai',
    operations: ['chat', 'completion'],
    routed: ['image'],
  },
  {
    prefix: 'fireworks_ai',
    apiBase: 'https://api.fireworks.ai/inference/v1',
    apiBaseEnv: ['FIREWORKS_API_BASE'],
    apiKeyEnv: 'FIREWORKS_API_KEY',
    otherKeyEnv: ['FIREWORKS_AI_API_KEY', 'FIREWORKSAI_API_KEY', 'FIREWORKS_AI_TOKEN'],
    pricesAs: 'fireworks',
    modelName: fireworksModel,
  },
  {
    prefix: 'perplexity',
    // Its endpoint has no /v1.
    apiBase: 'https://api.perplexity.ai/chat/completions',
    apiBaseEnv: ['PERPLEXITY_API_BASE'],
    apiKeyEnv: 'PERPLEXITYAI_API_KEY',
    otherKeyEnv: ['PERPLEXITY_API_KEY'],
    pricesAs: 'perplexity',
    operations: ['chat'],
  },
  {
    prefix: 'lm_studio',
    apiBase: 'http://127.0.0.1:1234/v1',
    apiBaseEnv: ['LM_STUDIO_API_BASE'],
    apiKeyEnv: 'LM_STUDIO_API_KEY',
    strict: false,
  },
  {
    prefix: 'llamafile',
    apiBase: 'http://127.0.0.1:8080/v1',
    apiBaseEnv: ['LLAMAFILE_API_BASE'],
    apiKeyEnv: 'LLAMAFILE_API_KEY',
    strict: false,
  },
]

/**
 * As LiteLLM does it: users write the short names of Fireworks' own models, which it and the price list
 * know by their paths. A wildcard is one of those, until somebody's own path has filled it.
 */
function fireworksModel(model: string): string {
  const own = 'accounts/fireworks/models/'
  if (!/[/#]/.test(model)) return own + model
  return model.startsWith(`${own}accounts/`) ? model.slice(own.length) : model
}

export const openAiFamily: readonly TableEntry[] = members.map(entryOf)

function entryOf({ prefix, pricesAs, ...member }: Member): TableEntry {
  const { apiBase, apiBaseEnv, apiKeyEnv, otherKeyEnv, ...dialect } = member
  const isSold = pricesAs !== undefined
  return {
    provider: openAiCompatible({ operations: everything, strict: true, ...dialect }),
    prefixes: [prefix],
    // A desktop's server answers one at a time, unless it is started for more.
    slots: isSold ? 64 : 1,
    locality: isSold ? 'cloud' : 'local',
    apiBase,
    apiKeyEnv,
    ...(apiBaseEnv === undefined ? {} : { apiBaseEnv }),
    ...(otherKeyEnv === undefined ? {} : { otherKeyEnv }),
    ...(dialect.modelName === undefined ? {} : { modelName: dialect.modelName }),
    ...(isSold ? { pricesAs } : {}),
  }
}
