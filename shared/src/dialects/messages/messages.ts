// Anthropic's Messages API as a dialect of ours.
import { noUsage } from '../../contracts/usage.ts'
import type { Dialect, Fields } from '../dialect.ts'
import { messageOf } from './answer.ts'
import { isFields, isForeignBlock, partsOf } from './content.ts'
import { messagesError } from './errors.ts'
import { nativeTexts } from './native-texts.ts'
import type { Block, Content } from './request.ts'
import { messagesStream } from './stream.ts'
import { toCanonical } from './to-canonical.ts'

export const messages: Dialect = {
  name: 'messages',
  streamType: 'text/event-stream; charset=utf-8',
  headers: ['anthropic-version', 'anthropic-beta'],
  toCanonical,
  untranslatable,
  answer: (canonical, request, end) => messageOf(canonical, request, end?.usage ?? noUsage),
  stream: messagesStream,
  queued: (position) => `: queued position=${position}\n\n`,
  errorBody: (info, requestId) => ({ ...messagesError(info), request_id: requestId }),
  nativeTexts,
}

/** Whole features that live on Anthropic's side. Hints to it (`context_management`) are left out. */
const foreignFields = ['container', 'mcp_servers']

function untranslatable(request: Fields) {
  const field = foreignFields.find((name) => isSet(request[name]))
  if (field !== undefined) return refusal(field, field)
  for (const [index, tool] of listOf(request.tools).entries()) {
    const type = isFields(tool) ? tool.type : null
    if (type && type !== 'custom') return refusal(`tools[${index}].type`, `the tool '${type}'`)
  }
  for (const [index, message] of listOf(request.messages).entries()) {
    const blocks = isFields(message) ? partsOf(message.content as Content) : []
    const block = blocks.find(isForeign)
    if (block !== undefined) {
      return refusal(`messages[${index}].content`, `content of the type '${block.type}'`)
    }
  }
  return null
}

function isForeign(block: Block): boolean {
  if (block.type !== 'tool_result') return isForeignBlock(block)
  return partsOf((block.content ?? '') as Content).some(isForeignBlock)
}

function refusal(param: string, what: string) {
  return { param, message: `Only Anthropic's own models can do with ${what}; this one is none.` }
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

/** Present and not empty: clients send empty lists of what they do not use. */
function isSet(value: unknown): boolean {
  if (value === null || value === undefined) return false
  return Array.isArray(value) ? value.length > 0 : true
}
