// A fake of Mistral's API on a free port of 127.0.0.1: chat, fill-in-the-middle and embeddings, strict
// as its schema is. Its answers follow the fake OpenAI's Behaviour.
import { refusalOf } from './mistral-checks.ts'
import { type Behaviour, normal, presets } from './openai-behaviour.ts'
import {
  completionTokens,
  embeddingReply,
  type Generation,
  generationFor,
  sse,
} from './openai-replies.ts'
import {
  type BehaviourFor,
  type FakeUpstream,
  type Plan,
  startUpstream,
  type UpstreamCall,
} from './upstream-server.ts'

export interface FakeMistralOptions {
  /** Where given, calls without this key are refused with 401. */
  apiKey?: string
  behaviour?: BehaviourFor | keyof typeof presets
}

type Fields = Record<string, unknown>
const created = 1_769_088_720

export function startFakeMistral(options: FakeMistralOptions = {}): Promise<FakeUpstream> {
  const { behaviour = normal, apiKey } = options
  return startUpstream(
    {
      refuse: (call) => refusalOf(call, apiKey),
      plan: planOf,
      headers: (sequence) => ({
        'mistral-correlation-id': `fake-${sequence}`,
        'x-ratelimit-remaining-req-minute': '59',
      }),
    },
    typeof behaviour === 'string' ? presets[behaviour] : behaviour,
  )
}

function planOf({ path, body }: UpstreamCall, behaviour: Behaviour, sequence: number): Plan {
  const common = {
    contentType: 'text/event-stream; charset=utf-8',
    garbage: Buffer.from('data: <garbage>\n\n'),
    errorEvent: (error: Fields) => Buffer.from(sse({ object: 'error', ...error })),
  }
  if (path === '/v1/embeddings') {
    const { json, promptTokens } = embeddingReply(
      { ...body, dimensions: body.output_dimension },
      behaviour,
    )
    const nothing = { opening: [], tokens: [], closing: [], stream: false }
    return { ...common, ...nothing, whole: json, usage: { promptTokens, completionTokens: 0 } }
  }
  const asked = { ...body, messages: body.messages ?? body.prompt }
  const generation = generationFor('chat', asked, behaviour, 'openai', sequence)
  const { finish, promptTokens } = generation
  const usage = { promptTokens, completionTokens: completionTokens(generation) }
  const event = (delta: Fields, reason: string | null = null, more: Fields = {}) => {
    const choice = { index: 0, delta, finish_reason: reason }
    return Buffer.from(
      sse({ ...headOf(generation, 'chat.completion.chunk'), choices: [choice], ...more }),
    )
  }
  // Tool calls come whole, and the usage beside the last choice.
  const calls = toolCalls(behaviour)
  const saying =
    calls.length > 0
      ? [event({ content: null, tool_calls: calls })]
      : generation.pieces.map((text) => event({ content: text }))
  return {
    ...common,
    stream: body.stream === true && behaviour.fault?.kind !== 'not-streamed',
    whole: wholeReply(generation),
    opening: [event({ role: 'assistant', content: '' })],
    tokens: [
      ...generation.reasoning.map((text) => event({ content: [thinking(text)] })),
      ...saying,
    ],
    closing: [
      event({ content: '' }, finish, behaviour.usage ? { usage: usageOf(generation) } : {}),
      Buffer.from('data: [DONE]\n\n'),
    ],
    usage,
  }
}

function wholeReply(generation: Generation): string {
  const { behaviour, pieces, reasoning, finish } = generation
  const calls = toolCalls(behaviour)
  const text = calls.length > 0 ? '' : pieces.join('')
  const content =
    reasoning.length > 0 ? [thinking(reasoning.join('')), { type: 'text', text }] : text
  const message = { role: 'assistant', content, tool_calls: calls.length > 0 ? calls : null }
  return JSON.stringify({
    ...headOf(generation, 'chat.completion'),
    choices: [{ index: 0, message, finish_reason: finish }],
    ...(behaviour.usage ? { usage: usageOf(generation) } : {}),
  })
}

function thinking(text: string): Fields {
  return { type: 'thinking', thinking: [{ type: 'text', text }] }
}

function toolCalls({ toolCalls: calls }: Behaviour): Fields[] {
  return calls.map(({ name, arguments: given }, index) => ({
    id: `fakeCall${index}`,
    function: { name, arguments: JSON.stringify(given) },
  }))
}

function headOf({ id, model }: Generation, object: string): Fields {
  return { id, object, created, model }
}

function usageOf(generation: Generation): Fields {
  const completed = completionTokens(generation)
  return {
    prompt_tokens: generation.promptTokens,
    total_tokens: generation.promptTokens + completed,
    completion_tokens: completed,
    prompt_tokens_details: { cached_tokens: generation.behaviour.cachedTokens },
  }
}
