// Ollama's POST /api/chat (docs/api.md; api/types.go, ChatRequest and ChatResponse).
import { z } from 'zod'
import { parseFields } from '../../parse-fields.ts'
import type { Dialect } from '../dialect.ts'
import { ollamaAnswer } from './answer.ts'
import { canonicalMessages, ollamaMessage } from './chat-messages.ts'
import { createLines } from './lines.ts'
import { nativeTexts } from './native-texts.ts'
import { chatFields } from './replies.ts'
import { generationFields, generationShape, modelOf } from './request-fields.ts'
import { errorBody, queuedLine, streamType } from './responses.ts'

const tools = z.array(z.looseObject({ type: z.string() })).max(4096)
const chatRequest = z.looseObject({
  ...generationShape,
  messages: z.array(ollamaMessage).min(1).max(100_000),
  tools: tools.nullish(),
})

export const ollamaChat: Dialect = {
  name: 'ollama-chat',
  streamType,
  toCanonical(given) {
    const request = parseFields(chatRequest, given, 'request')
    const body = {
      ...generationFields(request, given),
      messages: canonicalMessages(request.messages),
      ...(request.tools?.length ? { tools: request.tools } : {}),
    }
    return { operation: 'chat', body }
  },
  answer: (canonical, request, end) => ollamaAnswer(canonical, modelOf(request), end, chatFields),
  stream: (request) => createLines(modelOf(request), chatFields),
  queued: (position) => queuedLine(position, chatFields),
  errorBody,
  nativeTexts,
}
