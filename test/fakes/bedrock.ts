// A fake of Amazon Bedrock's Converse and ConverseStream over plain HTTP, with the binary frames of AWS
// event streams; strict about conversations, as the real one is. Its answers follow the fake OpenAI's
// Behaviour, its shapes the Amazon Bedrock API Reference.
import { EventStreamCodec } from '@smithy/core/event-streams'
import { type Behaviour, normal, presets, type StatusFault } from './openai-behaviour.ts'
import {
  type BehaviourFor,
  type FakeUpstream,
  type Plan,
  startUpstream,
  type UpstreamCall,
} from './upstream-server.ts'

export interface FakeBedrockOptions {
  /** Where given, other models are refused with 404. */
  models?: readonly string[]
  /** Where given, calls that are not signed with it are refused with 403. */
  accessKeyId?: string
  behaviour?: BehaviourFor | keyof typeof presets
}

type Fields = Record<string, unknown>

interface FakeBlock {
  start: Fields | null
  deltas: Fields[]
  whole: Fields
}

const codec = new EventStreamCodec(
  (bytes) => Buffer.from(bytes).toString('utf8'),
  (text) => Buffer.from(text, 'utf8'),
)

export function startFakeBedrock(options: FakeBedrockOptions = {}): Promise<FakeUpstream> {
  const { behaviour = normal } = options
  const initial = typeof behaviour === 'string' ? presets[behaviour] : behaviour
  return startUpstream(
    {
      refuse: (call) => refusalOf(call, options),
      plan: planOf,
      headers: (sequence) => ({ 'x-amzn-requestid': `request-${sequence}` }),
    },
    initial,
  )
}

/** An error reply as AWS's REST-JSON protocol has it. */
export function bedrockFailure(
  status: number,
  name: string,
  message: string,
  headers: Record<string, string> = {},
): StatusFault {
  const body = JSON.stringify({ message })
  return { kind: 'status', status, body, headers: { 'x-amzn-errortype': name, ...headers } }
}

/** One event of a stream, or an exception in its place. */
export function bedrockFrame(type: string, payload: unknown, kind = 'event'): Buffer {
  const text = (value: string) => ({ type: 'string' as const, value })
  const headers = {
    [kind === 'event' ? ':event-type' : ':exception-type']: text(type),
    ':content-type': text('application/json'),
    ':message-type': text(kind),
  }
  const body = Buffer.from(JSON.stringify(payload))
  return Buffer.from(codec.encode({ headers, body }))
}

function refusalOf({ path, headers, body }: UpstreamCall, options: FakeBedrockOptions) {
  const invalid = (message: string) => bedrockFailure(400, 'ValidationException', message)
  const { accessKeyId, models } = options
  const model = /^\/model\/(.+)\/converse(?:-stream)?$/.exec(decodeURIComponent(path))?.[1]
  if (model === undefined) return bedrockFailure(404, 'UnknownOperationException', 'no such route')
  if (accessKeyId !== undefined && !headers.authorization?.includes(`=${accessKeyId}/`)) {
    const message = 'The security token included in the request is invalid.'
    return bedrockFailure(403, 'UnrecognizedClientException', message)
  }
  if (models !== undefined && !models.includes(model)) {
    return invalid('The provided model identifier is invalid.')
  }
  const wrong = wrongMessages(body)
  return wrong === null ? null : invalid(wrong)
}

/** The rules that translators get wrong. */
function wrongMessages({ messages, toolConfig }: Fields): string | null {
  const turns = list(messages).map(fields)
  if (turns[0]?.role !== 'user') return 'A conversation must start with a user message.'
  let open: unknown[] = []
  for (const [index, { role, content }] of turns.entries()) {
    const blocks = list(content).map(fields)
    if (index > 0 && role === turns[index - 1]?.role) {
      return 'A conversation must alternate between user and assistant roles.'
    }
    if (blocks.some(({ text }) => typeof text === 'string' && text.trim() === '')) {
      return 'The text field in the ContentBlock object is blank.'
    }
    const results: unknown[] = blocks.flatMap((it) => fields(it.toolResult).toolUseId ?? [])
    if (open.some((id) => !results.includes(id)) || results.some((id) => !open.includes(id))) {
      return 'The number of toolResult blocks does not match the toolUse blocks of the previous turn.'
    }
    open = blocks.flatMap(({ toolUse }) => fields(toolUse).toolUseId ?? [])
    if ((open.length > 0 || results.length > 0) && toolConfig === undefined) {
      return 'The toolConfig field must be defined when using toolUse and toolResult content blocks.'
    }
  }
  return null
}

function planOf({ path, body }: UpstreamCall, behaviour: Behaviour): Plan {
  const blocks = blocksOf(body, behaviour)
  const made = blocks.flatMap(({ deltas }) => deltas).length
  const calls = blocks.some(({ whole }) => 'toolUse' in whole)
  const limit = Number(fields(body.inferenceConfig).maxTokens ?? Infinity)
  const stopReason = calls ? 'tool_use' : made >= limit ? 'max_tokens' : 'end_turn'
  const prompt = behaviour.promptTokens ?? 3
  const counts = {
    inputTokens: prompt - behaviour.cachedTokens,
    outputTokens: made,
    totalTokens: prompt + made,
    cacheReadInputTokens: behaviour.cachedTokens,
    cacheWriteInputTokens: 0,
  }
  const usage = behaviour.usage ? { usage: counts } : {}
  const metrics = { latencyMs: 1 }
  const message = { role: 'assistant', content: blocks.map(({ whole }) => whole) }
  return {
    stream: path.endsWith('/converse-stream'),
    contentType: 'application/vnd.amazon.eventstream',
    whole: JSON.stringify({ output: { message }, stopReason, ...usage, metrics }),
    opening: [bedrockFrame('messageStart', { role: 'assistant' })],
    tokens: blocks.flatMap(blockFrames),
    closing: [
      bedrockFrame('messageStop', { stopReason }),
      bedrockFrame('metadata', { ...usage, metrics }),
    ],
    garbage: Buffer.from('this is no frame of an event stream, whatever its first bytes say'),
    errorEvent: ({ name = 'internalServerException', ...rest }) =>
      bedrockFrame(String(name), rest, 'exception'),
    usage: { promptTokens: prompt, completionTokens: made },
  }
}

function blocksOf(body: Fields, behaviour: Behaviour): FakeBlock[] {
  const thinking = Array.from({ length: behaviour.reasoning }, (_, i) => token('think', i))
  const before = thinking.length > 0 ? [reasoningBlock(thinking)] : []
  const { toolConfig, inferenceConfig } = body
  const { toolCalls } = behaviour
  const forced = fields(fields(fields(toolConfig).toolChoice).tool)
  if (typeof forced.name === 'string' && toolCalls.length === 0) {
    const json = behaviour.content?.join('') ?? '{}'
    return [...before, toolBlock(forced.name, JSON.parse(json), 0)]
  }
  if (toolCalls.length > 0 && toolConfig !== undefined) {
    const calls = toolCalls.map((call, index) => toolBlock(call.name, call.arguments, index))
    return [...before, ...calls]
  }
  const all =
    behaviour.content ?? Array.from({ length: behaviour.tokens }, (_, i) => token('tok', i))
  const pieces = all.slice(0, Number(fields(inferenceConfig).maxTokens ?? Infinity))
  const text = pieces.join('')
  const block = { start: null, deltas: pieces.map((piece) => ({ text: piece })), whole: { text } }
  return [...before, block]
}

function reasoningBlock(pieces: readonly string[]): FakeBlock {
  const reasoningText = { text: pieces.join(''), signature: 'c2lnbmF0dXJl' }
  return {
    start: null,
    deltas: [
      ...pieces.map((text) => ({ reasoningContent: { text } })),
      { reasoningContent: { signature: reasoningText.signature } },
    ],
    whole: { reasoningContent: { reasoningText } },
  }
}

function toolBlock(name: string, input: unknown, index: number): FakeBlock {
  const toolUse = { toolUseId: `tooluse_fake${index}`, name }
  const pieces = JSON.stringify(input).match(/.{1,4}/gs) ?? []
  return {
    start: { toolUse },
    deltas: pieces.map((piece) => ({ toolUse: { input: piece } })),
    whole: { toolUse: { ...toolUse, input } },
  }
}

/** The first piece opens its block and the last one closes it, so that a token is one entry. */
function blockFrames({ start, deltas }: FakeBlock, contentBlockIndex: number): Buffer[] {
  const frames = deltas.map((delta) =>
    bedrockFrame('contentBlockDelta', { contentBlockIndex, delta }),
  )
  const opened = start && bedrockFrame('contentBlockStart', { contentBlockIndex, start })
  if (opened !== null) frames[0] = Buffer.concat([opened, frames[0] ?? Buffer.alloc(0)])
  const last = frames.at(-1) ?? Buffer.alloc(0)
  frames[Math.max(frames.length - 1, 0)] = Buffer.concat([
    last,
    bedrockFrame('contentBlockStop', { contentBlockIndex }),
  ])
  return frames
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
