// What the fake OpenAI answers besides generations: its headers, its models and its refusals, with
// OpenAI's own sentences and codes.
import { failure, type StatusFault } from './openai-behaviour.ts'
import type { Flavour } from './openai-replies.ts'

const needed = {
  '/chat/completions': 'messages',
  '/completions': 'prompt',
  '/embeddings': 'input',
  '/audio/speech': 'input',
  '/audio/transcriptions': 'file',
  '/audio/translations': 'file',
}

/** Why a request is refused; null if it is not. `models`: the ones there are, if that matters. */
export function refusalOf(
  path: string,
  body: Record<string, unknown>,
  models: readonly string[] | undefined,
): StatusFault | null {
  if (!Object.hasOwn(needed, path)) {
    return failure(404, { message: `Invalid URL (POST /v1${path})` })
  }
  const param = needed[path as keyof typeof needed]
  if (body[param] === undefined) {
    const message = `Missing required parameter: '${param}'.`
    return failure(400, { message, param, code: 'missing_required_parameter' })
  }
  if (body.stream !== true && body.stream_options !== undefined) {
    const message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
    return failure(400, { message, param: 'stream_options' })
  }
  const known = models === undefined || models.includes(String(body.model))
  return known ? null : unknownModel(body.model)
}

export function unknownModel(model: unknown): StatusFault {
  const message = `The model \`${model}\` does not exist or you do not have access to it.`
  return failure(404, { message, code: 'model_not_found' })
}

/** Quotes the wrong key, as OpenAI does (though not starred). */
export function incorrectKey(authorization = ''): StatusFault {
  const key = authorization.replace('Bearer ', '')
  const message = `Incorrect API key provided: ${key}. You can find your API key at https://platform.openai.com/account/api-keys.`
  return failure(401, { message, code: 'invalid_api_key' })
}

/** `/models` and `/models/{id}`; null for an unknown id. */
export function modelsReply(path: string, models: readonly string[], flavour: Flavour): unknown {
  const vllm = { owned_by: 'vllm', root: null, parent: null, max_model_len: 8192 }
  const data = models.map((id) => ({
    id,
    object: 'model',
    created: 1_686_935_002,
    ...(flavour === 'vllm' ? vllm : { owned_by: 'openai' }),
  }))
  if (path === '/models') return { object: 'list', data }
  const wanted = decodeURIComponent(path.slice('/models/'.length))
  return data.find(({ id }) => id === wanted) ?? null
}

export function headersOf(flavour: Flavour, sequence: number): Record<string, string> {
  if (flavour === 'vllm') return { server: 'uvicorn' }
  return {
    'openai-organization': 'fake-org',
    'openai-processing-ms': '1',
    'openai-version': '2020-10-01',
    'x-request-id': `req_fake${sequence}`,
    'x-ratelimit-limit-requests': '10000',
    'x-ratelimit-remaining-requests': '9999',
  }
}
