// A fake of Anthropic's Messages API on a free port of 127.0.0.1, in the shapes of its API reference;
// strict about requests, as the real one is. Its answers follow the fake OpenAI's Behaviour.
import { createHash } from 'node:crypto'
import { type Behaviour, normal, presets, type StatusFault } from './openai-behaviour.ts'
import {
  type BehaviourFor,
  type FakeUpstream,
  type Plan,
  startUpstream,
  type UpstreamCall,
} from './upstream-server.ts'

export interface FakeAnthropicOptions {
  /** Where given, calls without this key are refused with 401. */
  apiKey?: string
  /** Where given, other models are refused with 404. */
  models?: readonly string[]
  behaviour?: BehaviourFor | keyof typeof presets
}

type Fields = Record<string, unknown>

/** One block of an answer: the piece that opens it, its pieces and the whole. */
interface FakeBlock {
  start: Fields
  deltas: Fields[]
  whole: Fields
}

const stream = 'text/event-stream; charset=utf-8'

export function startFakeAnthropic(options: FakeAnthropicOptions = {}): Promise<FakeUpstream> {
  const { behaviour = normal } = options
  const initial = typeof behaviour === 'string' ? presets[behaviour] : behaviour
  return startUpstream(
    {
      refuse: (call) => refusalOf(call, options),
      plan: planOf,
      headers: (sequence) => ({
        'request-id': `req_fake${sequence}`,
        'anthropic-ratelimit-requests-limit': '50',
        'anthropic-ratelimit-requests-remaining': '49',
      }),
    },
    initial,
  )
}

/** An error reply in Anthropic's form (its docs: api/errors). */
export function anthropicFailure(
  status: number,
  type: string,
  message: string,
  headers: Record<string, string> = {},
): StatusFault {
  const body = JSON.stringify({ type: 'error', error: { type, message }, request_id: 'req_fake' })
  return { kind: 'status', status, body, headers }
}

const known = new Set(
  `cache_control container context_management diagnostics inference_geo max_tokens mcp_servers messages
  metadata model output_config service_tier speed stop_sequences stream system temperature thinking
  tool_choice tools top_k top_p`.split(/\s+/),
)

function refusalOf(call: UpstreamCall, { apiKey, models }: FakeAnthropicOptions) {
  const { headers, body, path } = call
  const invalid = (message: string) => anthropicFailure(400, 'invalid_request_error', message)
  if (path !== '/v1/messages') return anthropicFailure(404, 'not_found_error', 'Not Found')
  // The SDK sends a bearer token since its version 1.
  const key = headers['x-api-key'] ?? headers.authorization?.replace('Bearer ', '')
  if (apiKey !== undefined && key !== apiKey) {
    return anthropicFailure(401, 'authentication_error', 'invalid x-api-key')
  }
  if (headers['anthropic-version'] === undefined) {
    return invalid('anthropic-version: header is required')
  }
  const unknown = Object.keys(body).find((name) => !known.has(name))
  if (unknown !== undefined) return invalid(`${unknown}: Extra inputs are not permitted`)
  if (typeof body.max_tokens !== 'number') return invalid('max_tokens: Field required')
  if (models !== undefined && !models.includes(String(body.model))) {
    return anthropicFailure(404, 'not_found_error', `model: ${body.model}`)
  }
  const wrong = wrongMessages(body)
  return wrong === null ? null : invalid(wrong)
}

/** The rules that translators get wrong: turns, visible text, and results next to their calls. */
function wrongMessages({ messages, tools }: Fields): string | null {
  const turns = list(messages).map(fields)
  if (turns.length === 0) return 'messages: at least one message is required'
  let open: unknown[] = []
  for (const [index, { role, content }] of turns.entries()) {
    const blocks = list(content).map(fields)
    if (role !== 'user' && role !== 'assistant') return `messages.${index}.role: unexpected role`
    const results = blocks.filter(({ type }) => type === 'tool_result').map((it) => it.tool_use_id)
    if (open.some((id) => !results.includes(id))) {
      return `messages.${index}: \`tool_use\` ids were found without \`tool_result\` blocks immediately after`
    }
    if (results.some((id) => !open.includes(id))) {
      return `messages.${index}: unexpected \`tool_use_id\` found in \`tool_result\` blocks`
    }
    open = blocks.filter(({ type }) => type === 'tool_use').map(({ id }) => id)
    const blank = blocks.some(({ type, text }) => type === 'text' && !String(text).trim())
    if (blank || content === '') return 'messages: text content blocks must be non-empty'
    if ((open.length > 0 || results.length > 0) && list(tools).length === 0) {
      return 'Requests which include `tool_use` or `tool_result` blocks must define tools'
    }
  }
  return null
}

function planOf({ body }: UpstreamCall, behaviour: Behaviour, sequence: number): Plan {
  const blocks = blocksOf(body, behaviour)
  const made = blocks.flatMap(({ deltas }) => deltas).length
  const calls = blocks.some(({ whole }) => whole.type === 'tool_use')
  const cut = blocks.at(-1)?.whole.cut === true
  const stop = { stop_reason: cut ? 'max_tokens' : calls ? 'tool_use' : 'end_turn' }
  const prompt = behaviour.promptTokens ?? 3
  const usage = {
    input_tokens: prompt - behaviour.cachedTokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: behaviour.cachedTokens,
  }
  const output = {
    output_tokens: made,
    output_tokens_details: { thinking_tokens: behaviour.reasoning },
  }
  const told = (counts: Fields) => (behaviour.usage ? { usage: counts } : {})
  const head = { id: `msg_fake${sequence}`, type: 'message', role: 'assistant', model: body.model }
  const message = { ...head, content: blocks.map(({ whole: { cut: _, ...block } }) => block) }
  const started = { ...head, content: [], stop_reason: null, stop_sequence: null }
  const delta = { ...stop, stop_sequence: null }
  const opened = { ...started, ...told({ ...usage, output_tokens: 1 }) }
  return {
    stream: body.stream === true,
    contentType: stream,
    whole: JSON.stringify({ ...message, ...delta, ...told({ ...usage, ...output }) }),
    opening: [sse({ type: 'message_start', message: opened }), sse({ type: 'ping' })],
    tokens: blocks.flatMap(blockEvents),
    closing: [
      sse({ type: 'message_delta', delta, ...told({ ...usage, ...output }) }),
      sse({ type: 'message_stop' }),
    ],
    garbage: Buffer.from('event: content_block_delta\ndata: <garbage>\n\n'),
    errorEvent: (error) => sse({ type: 'error', error: { type: 'api_error', ...error } }),
    usage: { promptTokens: prompt, completionTokens: made },
  }
}

function blocksOf(body: Fields, behaviour: Behaviour): FakeBlock[] {
  const thinking = Array.from({ length: behaviour.reasoning }, (_, i) => token('think', i))
  const before = thinking.length > 0 ? [thinkingBlock(thinking)] : []
  const { toolCalls } = behaviour
  const forced = fields(body.tool_choice)
  const json = behaviour.content?.join('') ?? '{}'
  if (forced.type === 'tool' && toolCalls.length === 0) {
    return [...before, toolBlock(String(forced.name), JSON.parse(json), 0)]
  }
  if (toolCalls.length > 0 && list(body.tools).length > 0) {
    const calls = toolCalls.map((call, index) => toolBlock(call.name, call.arguments, index))
    return [...before, ...calls]
  }
  const all =
    behaviour.content ?? Array.from({ length: behaviour.tokens }, (_, i) => token('tok', i))
  const pieces = all.slice(0, Number(body.max_tokens))
  const text = { type: 'text', text: pieces.join(''), citations: null }
  const block = {
    start: { type: 'text', text: '' },
    deltas: pieces.map((piece) => ({ type: 'text_delta', text: piece })),
    whole: { ...text, cut: pieces.length < all.length },
  }
  return [...before, block]
}

function thinkingBlock(pieces: readonly string[]): FakeBlock {
  const thinking = pieces.join('')
  const signature = createHash('sha256').update(thinking).digest('base64')
  return {
    start: { type: 'thinking', thinking: '', signature: '' },
    deltas: [
      ...pieces.map((piece) => ({ type: 'thinking_delta', thinking: piece })),
      { type: 'signature_delta', signature },
    ],
    whole: { type: 'thinking', thinking, signature },
  }
}

function toolBlock(name: string, input: unknown, index: number): FakeBlock {
  const opened = { type: 'tool_use', id: `toolu_fake${index}`, name, input: {} }
  const pieces = JSON.stringify(input).match(/.{1,4}/gs) ?? []
  return {
    start: opened,
    // The first piece is empty, as Anthropic's is.
    deltas: ['', ...pieces].map((json) => ({ type: 'input_json_delta', partial_json: json })),
    whole: { ...opened, input },
  }
}

/** The first piece opens its block and the last one closes it, so that a token is one entry. */
function blockEvents({ start, deltas }: FakeBlock, index: number): Buffer[] {
  const events = deltas.map((delta) => sse({ type: 'content_block_delta', index, delta }))
  const first = events[0] ?? Buffer.alloc(0)
  events[0] = Buffer.concat([
    sse({ type: 'content_block_start', index, content_block: start }),
    first,
  ])
  const last = events.at(-1) ?? first
  events[events.length - 1] = Buffer.concat([last, sse({ type: 'content_block_stop', index })])
  return events
}

function sse(event: Fields): Buffer {
  return Buffer.from(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
}

function token(name: string, index: number): string {
  return index === 0 ? `${name}0` : ` ${name}${index}`
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function fields(value: unknown): Fields {
  return typeof value === 'object' && value !== null ? (value as Fields) : {}
}
