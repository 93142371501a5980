// The one table of dialects: adding one is a folder beside this file and a line here.
import type { DialectName } from '../contracts/request.ts'
import type { ClientDialect, Dialect } from './dialect.ts'
import { messages } from './messages/messages.ts'
import { ollamaChat } from './ollama/chat.ts'
import { ollamaEmbed } from './ollama/embed.ts'
import { ollamaGenerate } from './ollama/generate.ts'
import { responses } from './responses/responses.ts'

const dialects = {
  messages,
  responses,
  'ollama-chat': ollamaChat,
  'ollama-generate': ollamaGenerate,
  'ollama-embed': ollamaEmbed,
} satisfies Partial<Record<ClientDialect, Dialect>>
const byName = new Map<DialectName, Dialect>(Object.entries(dialects) as [DialectName, Dialect][])

/** Null: the canonical form, which needs no translation. */
export function dialectOf(name: DialectName): Dialect | null {
  return byName.get(name) ?? null
}
