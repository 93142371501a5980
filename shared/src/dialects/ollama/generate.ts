// Ollama's POST /api/generate (docs/api.md; api/types.go, GenerateRequest and GenerateResponse). Its
// prompt goes through the model's chat template, so it is a chat of one message; only a raw prompt or
// one with a suffix is what OpenAI calls a completion.
import { z } from 'zod'
import { PenstockError } from '../../contracts/errors.ts'
import { parseFields } from '../../parse-fields.ts'
import type { Dialect, Fields } from '../dialect.ts'
import { ollamaAnswer } from './answer.ts'
import { createLines } from './lines.ts'
import { nativeTexts } from './native-texts.ts'
import { generateFields } from './replies.ts'
import { generationFields, generationShape, imagePart, modelOf } from './request-fields.ts'
import { errorBody, queuedLine, streamType } from './responses.ts'

const text = z.string().nullish()
const generateRequest = z.looseObject({
  ...generationShape,
  prompt: text,
  suffix: text,
  system: text,
  template: text,
  context: z.array(z.int()).nullish(),
  images: z.array(z.string()).max(1_000).nullish(),
  raw: z.boolean().nullish(),
})
type GenerateRequest = z.infer<typeof generateRequest>

export const ollamaGenerate: Dialect = {
  name: 'ollama-generate',
  streamType,
  toCanonical(given) {
    const request = parseFields(generateRequest, given, 'request')
    if (request.raw && (request.system || request.template || request.context?.length)) {
      // The rule and the words are Ollama's (server/routes.go).
      const message = 'raw mode does not support template, system, or context'
      throw new PenstockError('invalid_request', message, { param: 'raw' })
    }
    const fields = generationFields(request, given)
    if (!request.raw && !request.suffix) {
      return { operation: 'chat', body: { ...fields, messages: messagesOf(request) } }
    }
    // A completion's log probabilities are of another form, and a number.
    const { logprobs: _, top_logprobs: __, ...rest } = fields
    const suffix = request.suffix ? { suffix: request.suffix } : {}
    return { operation: 'completion', body: { ...rest, prompt: request.prompt ?? '', ...suffix } }
  },
  untranslatable(body) {
    for (const param of ['template', 'context']) {
      if (isEmpty(body[param])) continue
      return {
        param,
        message: `Only an Ollama server takes \`${param}\`: send the request without.`,
      }
    }
    return null
  },
  answer: (canonical, request, end) =>
    ollamaAnswer(canonical, modelOf(request), end, generateFields),
  stream: (request) => createLines(modelOf(request), generateFields),
  queued: (position) => queuedLine(position, generateFields),
  errorBody,
  nativeTexts,
}

function messagesOf({ system, prompt, images }: GenerateRequest): Fields[] {
  const asked = images?.length
    ? [...(prompt ? [{ type: 'text', text: prompt }] : []), ...images.map(imagePart)]
    : (prompt ?? '')
  const user = { role: 'user', content: asked }
  return system ? [{ role: 'system', content: system }, user] : [user]
}

function isEmpty(value: unknown): boolean {
  return !value || (Array.isArray(value) && value.length === 0)
}
