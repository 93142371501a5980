// A fake of Azure OpenAI on a free port of 127.0.0.1: OpenAI's answers with the content filter's
// results, at Azure's addresses and behind its credentials. Its answers follow the fake OpenAI's Behaviour.
import { type Behaviour, normal, presets, type StatusFault } from './openai-behaviour.ts'
import {
  completionTokens,
  embeddingReply,
  generationFor,
  sse,
  streamedReply,
  wholeReply,
} from './openai-replies.ts'
import {
  type BehaviourFor,
  type FakeUpstream,
  type Plan,
  startUpstream,
  type UpstreamCall,
} from './upstream-server.ts'

export interface FakeAzureOptions {
  /** Where given, calls without this `api-key` are refused with 401. */
  apiKey?: string
  /** Where given, this bearer token serves as well. */
  entraToken?: string
  /** Where given, other deployments are refused with 404. */
  deployments?: readonly string[]
  behaviour?: BehaviourFor | keyof typeof presets
}

/** A prompt that holds it triggers the content filter. */
export const filteredWord = 'FILTER-ME'

const dated = /^\/openai\/deployments\/([^/]+)\/(chat\/completions|completions|embeddings)$/
const versionless = /^\/openai\/v1\/(chat\/completions|completions|embeddings)$/
const safe = { filtered: false, severity: 'safe' }
const results = { hate: safe, self_harm: safe, sexual: safe, violence: safe }
const promptResults = [{ prompt_index: 0, content_filter_results: results }]

export function startFakeAzure(options: FakeAzureOptions = {}): Promise<FakeUpstream> {
  const { behaviour = normal } = options
  return startUpstream(
    {
      refuse: (call) => refusalOf(call, options),
      plan: planOf,
      headers: (sequence) => ({
        'apim-request-id': `fake-${sequence}`,
        'x-ratelimit-remaining-requests': '99',
        'x-ratelimit-remaining-tokens': '9999',
      }),
    },
    typeof behaviour === 'string' ? presets[behaviour] : behaviour,
  )
}

/** An error reply in Azure's form. */
export function azureFailure(
  status: number,
  code: string,
  message: string,
  more: Record<string, unknown> = {},
): StatusFault {
  const body = JSON.stringify({ error: { code, message, ...more } })
  return { kind: 'status', status, body, headers: {} }
}

function refusalOf(call: UpstreamCall, options: FakeAzureOptions): StatusFault | null {
  const { headers, body } = call
  const { apiKey, entraToken, deployments } = options
  const isKnown =
    (apiKey === undefined && entraToken === undefined) ||
    (apiKey !== undefined && headers['api-key'] === apiKey) ||
    (entraToken !== undefined && headers.authorization === `Bearer ${entraToken}`)
  if (!isKnown) {
    const message = `Access denied due to invalid subscription key ${headers['api-key']} or wrong API endpoint.`
    return azureFailure(401, '401', message)
  }
  const name = deploymentOf(call)
  if (name === null) return azureFailure(404, '404', 'Resource not found')
  if (deployments !== undefined && !deployments.includes(name)) {
    const message = 'The API deployment for this resource does not exist.'
    return azureFailure(404, 'DeploymentNotFound', message)
  }
  if (!JSON.stringify(body).includes(filteredWord)) return null
  const inner = {
    code: 'ResponsibleAIPolicyViolation',
    content_filter_result: { ...results, hate: { filtered: true, severity: 'high' } },
  }
  const message = "The response was filtered due to the prompt triggering Azure OpenAI's policy."
  const more = { param: 'prompt', type: null, status: 400, innererror: inner }
  return azureFailure(400, 'content_filter', message, more)
}

/** Null: no address of Azure's, or a dated one without its version. */
function deploymentOf({ path, query, body }: UpstreamCall): string | null {
  const version = query.get('api-version')
  const [, name] = dated.exec(path) ?? []
  if (name !== undefined) return /^\d{4}-/.test(version ?? '') ? decodeURIComponent(name) : null
  return versionless.test(path) && typeof body.model === 'string' ? body.model : null
}

function planOf(call: UpstreamCall, behaviour: Behaviour, sequence: number): Plan {
  const { body, path } = call
  const common = {
    contentType: 'text/event-stream; charset=utf-8',
    garbage: Buffer.from('data: <garbage>\n\n'),
    errorEvent: (error: Record<string, unknown>) => Buffer.from(sse({ error })),
  }
  if (path.endsWith('/embeddings')) {
    const { json, promptTokens } = embeddingReply(body, behaviour)
    const nothing = { opening: [], tokens: [], closing: [], stream: false }
    return { ...common, ...nothing, whole: json, usage: { promptTokens, completionTokens: 0 } }
  }
  const kind = path.endsWith('/chat/completions') ? 'chat' : 'completion'
  const generation = generationFor(kind, body, behaviour, 'openai', sequence)
  const { opening, tokens, closing } = streamedReply(generation)
  const head = { choices: [], created: 0, id: '', model: '', object: '' }
  const filter = sse({ ...head, prompt_filter_results: promptResults })
  const bytes = (events: readonly string[]) => events.map((event) => Buffer.from(event))
  const whole = JSON.parse(wholeReply(generation))
  const [choice] = whole.choices
  const choices = [{ ...choice, content_filter_results: results }]
  return {
    ...common,
    stream: body.stream === true && behaviour.fault?.kind !== 'not-streamed',
    whole: JSON.stringify({ ...whole, choices, prompt_filter_results: promptResults }),
    opening: bytes([filter, ...opening]),
    tokens: bytes(tokens),
    closing: bytes([...closing, 'data: [DONE]\n\n']),
    usage: {
      promptTokens: generation.promptTokens,
      completionTokens: completionTokens(generation),
    },
  }
}
