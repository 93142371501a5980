// OpenAI's chat messages as Gemini's contents (ai.google.dev/api/caching#Content; googleapis/js-genai,
// src/types.ts): system texts apart, tool calls and their results as parts, and the thought signatures
// with which a model recognises its own earlier calls.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import {
  argumentsOf,
  audioOf,
  type ChatMessage,
  chatMessages,
  fileOf,
  imageUrlOf,
  inlineData,
  type Part,
  partsOf,
  textOf,
  unsupportedContent,
} from './canonical-messages.ts'

export type GeminiPart = Record<string, unknown>

export interface GeminiContent {
  role: 'user' | 'model'
  parts: GeminiPart[]
}

export interface GeminiConversation {
  contents: GeminiContent[]
  systemInstruction?: { parts: GeminiPart[] }
}

/**
 * Gemini 3 refuses a call that it made itself without its signature (400). A history that has lost it,
 * or another model's, is let through with these words ("Thought signatures", FAQ).
 */
const noSignature = 'skip_thought_signature_validator'

/** Google's own OpenAI endpoint and LiteLLM keep the signature beside the call, each in its place. */
const word = z.string().min(1).nullish().catch(null)
const signed = z.object({
  extra_content: z
    .object({ google: z.object({ thought_signature: word }).nullish().catch(null) })
    .nullish()
    .catch(null),
  provider_specific_fields: z.object({ thought_signature: word }).nullish().catch(null),
})
const ownFields = z.array(
  z.object({
    name: word,
    tool_calls: z.array(signed.catch({})).nullish().catch(null),
  }),
)

/**
 * @param needsSignatures the model checks the signatures of calls
 * @throws PenstockError `invalid_request` for what is no OpenAI message, `unsupported_parameter` for
 *   content that Gemini cannot take; both name the place in `param`.
 */
export function geminiConversation(value: unknown, needsSignatures: boolean): GeminiConversation {
  const messages = chatMessages(value)
  const own = ownFields.parse(value)
  const system: GeminiPart[] = []
  const contents: GeminiContent[] = []
  const toolNames = new Map<string, string>()
  for (const [index, one] of messages.entries()) {
    const place = `messages[${index}]`
    switch (one.role) {
      case 'system':
      case 'developer':
        system.push(...partsFor(one, place))
        break
      case 'user':
        add(contents, 'user', partsFor(one, place))
        break
      case 'assistant': {
        const signatures = (own[index]?.tool_calls ?? []).map(signatureOf)
        for (const { id, function: called } of one.tool_calls ?? []) {
          if (id) toolNames.set(id, called.name)
        }
        const calls = callParts(one, place, signatures, needsSignatures)
        add(contents, 'model', [...partsFor(one, place), ...calls])
        break
      }
      case 'tool': {
        const name = own[index]?.name ?? toolNames.get(one.tool_call_id ?? '')
        add(contents, 'user', [resultPart(one, place, name)])
      }
    }
  }
  // A request needs contents; instructions alone are what the user says.
  if (contents.length === 0) return { contents: [{ role: 'user', parts: system }] }
  return { contents, ...(system.length === 0 ? {} : { systemInstruction: { parts: system } }) }
}

/** What one side says in a row is one; the results of calls stand alone, as many as there were calls. */
function add(contents: GeminiContent[], role: GeminiContent['role'], parts: GeminiPart[]): void {
  const last = contents.at(-1)
  if (parts.length === 0) return
  const isAlike = last?.role === role && holdsResults(last.parts) === holdsResults(parts)
  if (isAlike) last.parts.push(...parts)
  else contents.push({ role, parts })
}

function holdsResults(parts: readonly GeminiPart[]): boolean {
  return parts[0]?.functionResponse !== undefined
}

function partsFor({ content }: ChatMessage, place: string): GeminiPart[] {
  return partsOf(content)
    .map((part, index) => partFor(part, `${place}.content[${index}]`))
    .filter((part) => part.text !== '')
}

function partFor(part: Part, place: string): GeminiPart {
  switch (part.type) {
    case 'text':
    case 'refusal':
      return { text: textOf(part, place) }
    case 'image_url':
      return dataPart(imageUrlOf(part, place), `${place}.image_url`, 'image/jpeg')
    case 'input_audio': {
      const { data, format } = audioOf(part, place)
      return { inlineData: { mimeType: `audio/${format}`, data } }
    }
    case 'file': {
      const { file_data: data, file_id: id } = fileOf(part, place)
      return dataPart(data || id || '', `${place}.file`, 'application/pdf')
    }
    default:
      throw unsupportedContent(`Gemini does not take content of the type '${part.type}'.`, place)
  }
}

const typesByEnding = new Map([
  ['png', 'image/png'],
  ['jpg', 'image/jpeg'],
  ['jpeg', 'image/jpeg'],
  ['webp', 'image/webp'],
  ['heic', 'image/heic'],
  ['gif', 'image/gif'],
  ['pdf', 'application/pdf'],
])

/** Links are fetched by Google, or name a file that was uploaded there. */
function dataPart(url: string, place: string, otherwise: string): GeminiPart {
  const inline = inlineData(url)
  if (inline !== null) return { inlineData: { mimeType: inline.mediaType, data: inline.base64 } }
  const path = URL.parse(url)?.pathname
  if (path === undefined || !/^https?:/i.test(url)) {
    const message = `${place} is neither a base64 data: URL nor a link.`
    throw new PenstockError('invalid_request', message, { param: place })
  }
  const ending = /\.(\w+)$/.exec(path)?.[1]?.toLowerCase() ?? ''
  return { fileData: { mimeType: typesByEnding.get(ending) ?? otherwise, fileUri: url } }
}

/** Of several calls in one step the first one alone carries the signature. */
function callParts(
  { tool_calls: calls }: ChatMessage,
  place: string,
  signatures: readonly (string | null)[],
  needsSignatures: boolean,
): GeminiPart[] {
  return (calls ?? []).map(({ id, function: called }, index) => {
    const lost = needsSignatures && index === 0 ? noSignature : null
    const signature = signatures[index] ?? lost
    const args = argumentsOf(called.arguments, `${place}.tool_calls[${index}].function.arguments`)
    return {
      functionCall: { name: called.name, args, ...idOf(id) },
      ...(signature === null ? {} : { thoughtSignature: signature }),
    }
  })
}

function signatureOf({
  extra_content: extra,
  provider_specific_fields: fields,
}: z.infer<typeof signed>): string | null {
  return extra?.google?.thought_signature ?? fields?.thought_signature ?? null
}

/** An id that Gemini gave goes back to it; `call_…` are ours, or another provider's. */
function idOf(id: string | null | undefined): { id?: string } {
  return id && !id.startsWith('call_') ? { id } : {}
}

function resultPart(from: ChatMessage, place: string, name: string | undefined): GeminiPart {
  if (name === undefined) {
    const param = `${place}.tool_call_id`
    throw new PenstockError('invalid_request', `${param} names no earlier tool call.`, { param })
  }
  const parts = partsFor(from, place)
  const text = parts.map((part) => part.text ?? '').join('')
  const files = parts.filter((part) => part.text === undefined)
  return {
    functionResponse: {
      name,
      response: responseOf(text),
      ...idOf(from.tool_call_id),
      ...(files.length === 0 ? {} : { parts: files }),
    },
  }
}

/** A result must be an object there: `output` is where a plain one stands (FunctionResponse). */
function responseOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    if (isObject) return value as Record<string, unknown>
  } catch {
    // Text, as most tools answer.
  }
  return { output: text }
}
