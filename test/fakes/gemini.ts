// A fake of the Gemini API on a free port of 127.0.0.1: generateContent, its stream, embeddings. Its
// answers follow the fake OpenAI's Behaviour.
import { refusalOf } from './gemini-checks.ts'
import { type Behaviour, normal, presets } from './openai-behaviour.ts'
import {
  completionTokens,
  embeddingReply,
  type Generation,
  generationFor,
} from './openai-replies.ts'
import {
  type BehaviourFor,
  type FakeUpstream,
  type Plan,
  startUpstream,
  type UpstreamCall,
} from './upstream-server.ts'

export interface FakeGeminiOptions {
  /** Where given, calls without this key are refused with 400, as Google does it. */
  apiKey?: string
  behaviour?: BehaviourFor | keyof typeof presets
}

type Fields = Record<string, unknown>

/** A prompt that holds it is blocked. */
export const blockedWord = 'BLOCK-ME'

export function startFakeGemini(options: FakeGeminiOptions = {}): Promise<FakeUpstream> {
  const { behaviour = normal, apiKey } = options
  return startUpstream(
    { refuse: (call) => refusalOf(call, apiKey), plan: planOf, headers: () => ({}) },
    typeof behaviour === 'string' ? presets[behaviour] : behaviour,
  )
}

function planOf({ path, body }: UpstreamCall, behaviour: Behaviour, sequence: number): Plan {
  const [, model = '', method = ''] = /models\/([^:]+):(\w+)$/.exec(path) ?? []
  const common = {
    contentType: 'text/event-stream',
    garbage: Buffer.from('data: <garbage>\r\n\r\n'),
    errorEvent: (error: Fields) =>
      event({ error: { code: 500, status: 'INTERNAL', message: String(error.message) } }),
    opening: [],
  }
  if (!method.endsWith('enerateContent')) {
    return { ...common, ...embeddings(body, method, behaviour) }
  }
  const { maxOutputTokens } = (body.generationConfig ?? {}) as Fields
  const asked = { model, messages: contentsOf(body), max_tokens: maxOutputTokens }
  const generation = generationFor('chat', asked, behaviour, 'openai', sequence)
  const { promptTokens, finish, pieces, reasoning } = generation
  const usage = { promptTokens, completionTokens: completionTokens(generation) }
  const reply = (parts: Fields[], made: number, finishReason?: string) => ({
    candidates: [
      {
        content: { parts, role: 'model' },
        index: 0,
        ...(finishReason === undefined ? {} : { finishReason }),
      },
    ],
    ...(behaviour.usage ? { usageMetadata: usageOf(generation, made) } : {}),
    modelVersion: model,
    responseId: `fake${sequence}`,
  })
  const finishReason = finish === 'length' ? 'MAX_TOKENS' : 'STOP'
  const calls = callParts(behaviour)
  const said = calls.length > 0 ? calls : pieces.map((text) => ({ text }))
  const parts = [...reasoning.map((text) => ({ text, thought: true })), ...said]
  const all =
    calls.length > 0
      ? parts
      : [
          ...(reasoning.length > 0 ? [{ text: reasoning.join(''), thought: true }] : []),
          { text: pieces.join('') },
        ]
  const stream = method === 'streamGenerateContent' && behaviour.fault?.kind !== 'not-streamed'
  if (JSON.stringify(body.contents).includes(blockedWord)) {
    const blocked = { promptFeedback: { blockReason: 'PROHIBITED_CONTENT' }, modelVersion: model }
    const whole = JSON.stringify(blocked)
    return { ...common, stream, whole, tokens: [], closing: [event(blocked)], usage }
  }
  return {
    ...common,
    stream,
    whole: JSON.stringify(reply(all, pieces.length, finishReason)),
    tokens: parts.map((part, index) =>
      event(reply([part], Math.max(index + 1 - reasoning.length, 0))),
    ),
    closing: [event(reply([{ text: '' }], pieces.length, finishReason))],
    usage,
  }
}

function embeddings(
  body: Fields,
  method: string,
  behaviour: Behaviour,
): Omit<Plan, 'contentType' | 'garbage' | 'errorEvent' | 'opening'> {
  const requests = (method === 'embedContent' ? [body] : body.requests) as {
    content: { parts: { text: string }[] }
    outputDimensionality?: number
  }[]
  const input = requests.map(({ content }) => content.parts.map(({ text }) => text).join(''))
  const dimensions = requests[0]?.outputDimensionality
  const { json, promptTokens } = embeddingReply({ input, dimensions }, behaviour)
  const data = JSON.parse(json).data as { embedding: number[] }[]
  const vectors = data.map(({ embedding }) => ({ values: embedding }))
  const reply = method === 'embedContent' ? { embedding: vectors[0] } : { embeddings: vectors }
  const usage = { promptTokens, completionTokens: 0 }
  return { stream: false, whole: JSON.stringify(reply), tokens: [], closing: [], usage }
}

/** The first call alone has a signature, as from Gemini 3 on. */
function callParts({ toolCalls }: Behaviour): Fields[] {
  return toolCalls.map(({ name, arguments: args }, index) => ({
    functionCall: { name, args, id: `fake-${index}` },
    ...(index === 0 ? { thoughtSignature: 'ZmFrZSBzaWduYXR1cmU=' } : {}),
  }))
}

/** What `generationFor` counts the words of. */
function contentsOf({ contents, systemInstruction }: Fields): unknown {
  const all = [systemInstruction, ...(contents as unknown[])] as ({ parts: unknown } | undefined)[]
  return all.map((one) => ({ content: one?.parts ?? [] }))
}

function usageOf({ promptTokens, reasoning, behaviour }: Generation, made: number): Fields {
  const thoughts = reasoning.length
  return {
    promptTokenCount: promptTokens,
    candidatesTokenCount: made,
    totalTokenCount: promptTokens + made + thoughts,
    ...(thoughts > 0 ? { thoughtsTokenCount: thoughts } : {}),
    ...(behaviour.cachedTokens > 0 ? { cachedContentTokenCount: behaviour.cachedTokens } : {}),
  }
}

function event(value: unknown): Buffer {
  return Buffer.from(`data: ${JSON.stringify(value)}\r\n\r\n`)
}
