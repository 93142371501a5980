// What a translated chat holds besides OpenAI's own fields is for the providers that read it: others,
// which pass on what they do not know, would have their upstream refuse it.
import type { ChatExtension } from './providers/provider.ts'

type Fields = Record<string, unknown>

const ofBody: Record<ChatExtension, readonly string[]> = {
  thinking: ['thinking'],
  cache_control: ['cache_control'],
  reasoning_content: [],
}
const ofMessage: Record<ChatExtension, readonly string[]> = {
  thinking: ['thinking_blocks'],
  cache_control: ['cache_control'],
  reasoning_content: ['reasoning_content'],
}
const all: readonly ChatExtension[] = ['thinking', 'cache_control', 'reasoning_content']

/** A copy without what is not in `taken`; the same body where all of it is. */
export function withoutExtensions(body: Fields, taken: readonly ChatExtension[]): Fields {
  const refused = all.filter((one) => !taken.includes(one))
  if (refused.length === 0) return body
  const fromMessage = refused.flatMap((one) => ofMessage[one])
  const fromPart = refused.includes('cache_control') ? ofMessage.cache_control : []
  const stripped = without(
    body,
    refused.flatMap((one) => ofBody[one]),
  )
  for (const name of ['messages', 'tools']) {
    const list = stripped[name]
    if (Array.isArray(list)) stripped[name] = list.map((one) => strip(one, fromMessage, fromPart))
  }
  return stripped
}

function strip(one: unknown, names: readonly string[], fromPart: readonly string[]): unknown {
  if (!isFields(one)) return one
  const stripped = without(one, names)
  const { content } = stripped
  if (fromPart.length > 0 && Array.isArray(content)) {
    stripped.content = content.map((part) => (isFields(part) ? without(part, fromPart) : part))
  }
  return stripped
}

function without(fields: Fields, names: readonly string[]): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.includes(name)))
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
