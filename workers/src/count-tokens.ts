// Token counts for upstreams that report none: an estimate with OpenAI's o200k_base vocabulary, good
// to a few per cent for GPT models and rougher for others. The tables load on first use.
import type { Operation } from '@penstock/shared/contracts/request'

/**
 * The tokenizer's time grows with the square of an unbroken run (200,000 spaces: 11 s), so texts are
 * counted in slices; a cut costs at most a token or so.
 */
const sliceLength = 1_000
/** A longer text is measured on this many slices, spread evenly over it, and scaled up. */
const maxSlices = 100

// OpenAI's cookbook, "How to count tokens with tiktoken": three tokens frame each message, its role
// is one, and three more open the reply.
const tokensPerMessage = 4
const tokensPerReply = 3
// OpenAI's vision guide: 85 tokens in low detail; 765 is a 1024 x 1024 image in high detail. The size
// is not looked at: an image may be 20 MB, and this is an estimate.
const lowDetailImageTokens = 85
const imageTokens = 765

type Tokenizer = Pick<typeof import('gpt-tokenizer/encoding/o200k_base'), 'countTokens'>
type Fields = Record<string, unknown>

/** Text to be counted together, and tokens that stand for no text. */
interface Measured {
  texts: string[]
  tokens: number
}

let tokenizer: Promise<Tokenizer> | null = null
const asPlainText = { disallowedSpecial: new Set<string>() }

/**
 * Tokens of a request: messages with their tool calls and images, tool definitions and JSON schemas
 * by their JSON text, prompts and inputs (ready-made token arrays by their length).
 */
export function countPromptTokens(operation: Operation, body: Fields): Promise<number> {
  const measured: Measured = { texts: [], tokens: 0 }
  switch (operation) {
    case 'chat':
      measureChat(measured, body)
      break
    case 'completion':
      measureInput(measured, body.prompt)
      measureInput(measured, body.suffix)
      break
    case 'embedding':
    case 'moderation':
      measureInput(measured, body.input)
      break
    case 'rerank':
      measureInput(measured, body.query)
      measureInput(measured, body.documents)
      break
    case 'image':
    case 'transcription':
    case 'translation':
      measureInput(measured, body.prompt)
      break
    case 'speech':
      measureInput(measured, body.input)
      measureInput(measured, body.instructions)
  }
  return countText(measured.texts.join('\n')).then((tokens) => tokens + measured.tokens)
}

/** Tokens of generated text. */
export function countCompletionTokens(text: string): Promise<number> {
  return countText(text)
}

async function countText(text: string): Promise<number> {
  if (text === '') return 0
  tokenizer ??= import('gpt-tokenizer/encoding/o200k_base')
  const { countTokens } = await tokenizer
  const slices = Math.ceil(text.length / sliceLength)
  const counted = Math.min(slices, maxSlices)
  let tokens = 0
  let characters = 0
  for (let i = 0; i < counted; i += 1) {
    const start = Math.floor((i * slices) / counted) * sliceLength
    const slice = text.slice(start, start + sliceLength)
    tokens += countTokens(slice, asPlainText)
    characters += slice.length
  }
  return Math.round((tokens * text.length) / characters)
}

function measureChat(measured: Measured, body: Fields): void {
  measured.tokens += tokensPerReply
  for (const message of arrayOf(body.messages)) {
    if (!isFields(message)) continue
    measured.tokens += tokensPerMessage
    measureContent(measured, message.content)
    for (const call of arrayOf(message.tool_calls)) {
      if (isFields(call)) measured.texts.push(JSON.stringify(call.function ?? null))
    }
  }
  if (body.tools !== undefined) measured.texts.push(JSON.stringify(body.tools))
  const format = body.response_format
  if (isFields(format) && format.json_schema !== undefined) {
    measured.texts.push(JSON.stringify(format.json_schema))
  }
}

function measureContent(measured: Measured, content: unknown): void {
  if (typeof content === 'string') measured.texts.push(content)
  for (const part of arrayOf(content)) {
    if (!isFields(part)) continue
    if (typeof part.text === 'string') measured.texts.push(part.text)
    const image = part.image_url
    if (image === undefined) continue
    const low = isFields(image) && image.detail === 'low'
    measured.tokens += low ? lowDetailImageTokens : imageTokens
  }
}

/** A prompt or an embedding's input: a text, token ids, or a list of either. */
function measureInput(measured: Measured, input: unknown): void {
  if (typeof input === 'string') measured.texts.push(input)
  for (const item of arrayOf(input)) {
    if (typeof item === 'number') measured.tokens += 1
    else if (typeof item === 'string') measured.texts.push(item)
    else if (isFields(item) && typeof item.text === 'string') measured.texts.push(item.text)
    else measured.tokens += arrayOf(item).length
  }
}

function arrayOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null
}
