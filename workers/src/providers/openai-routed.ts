// Moderations, rerankings, images and audio, for upstreams that have OpenAI's routes (rerank: Cohere's
// form, as vLLM and others take it): the body goes there as it came, the reply back in its bytes.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { isUpload, type RoutedOperation } from '@penstock/shared/contracts/request'
import { noUsage, type TokenUsage } from '@penstock/shared/contracts/usage'
import { z } from 'zod'
import { readAll, readError, send } from './http.ts'
import { readSpeech, readTranscript, uploadRequest } from './openai-audio.ts'
import { buildRequest, maxReplyBytes, type OpenAiDialect } from './openai-request.ts'
import { usageOf } from './openai-usage.ts'
import type { RoutedOperations } from './provider.ts'

const list = z.array(z.looseObject({}))
const replies = {
  moderation: z.looseObject({ results: list }),
  rerank: z.looseObject({ results: list }),
  image: z.looseObject({ data: list }),
} as const satisfies Partial<Record<RoutedOperation, z.ZodType>>
type JsonOperation = keyof typeof replies

export function routedOperations(
  dialect: OpenAiDialect,
  operations: readonly RoutedOperation[],
): RoutedOperations {
  return {
    operations,
    async run(call) {
      const { operation } = call
      const isForm = isUpload(operation)
      const response = await send(
        isForm ? await uploadRequest(call, dialect) : buildRequest(call, dialect),
      )
      if (response.status === 404) throw withoutRoute(await readError(response))
      if (response.status !== 200) throw await readError(response)
      const body = await readAll(response.body, maxReplyBytes)
      const { 'content-type': type = '' } = response.headers
      if (isForm) return readTranscript(body, type)
      if (operation === 'speech') return readSpeech(body, type)
      return { body, usage: usageOfReply(operation, parse(operation, body)) }
    },
  }
}

/** The server, or its model, may lack this route alone: nothing against it for other requests. */
function withoutRoute({ message }: PenstockError): PenstockError {
  return new PenstockError('unsupported_parameter', message, { status: 404, param: 'model' })
}

function parse(operation: JsonOperation, bytes: Uint8Array): Record<string, unknown> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString()
  let json: unknown = null
  try {
    json = JSON.parse(text)
  } catch {
    // No reply either.
  }
  const reply = replies[operation].safeParse(json)
  if (reply.success) return reply.data
  const what = operation === 'image' ? 'data' : 'results'
  const message = `The upstream's answer is not JSON with ${what}.`
  throw new PenstockError('upstream_invalid_response', message)
}

const count = z.int().min(0)
/** OpenAI's `ImagesResponse`: all tokens of the answer are of images. */
const imageUsage = z.object({
  usage: z.object({
    input_tokens: count,
    output_tokens: count,
    input_tokens_details: z.object({ image_tokens: count }).nullish(),
  }),
})
/** vLLM names the total alone. */
const rerankUsage = z.object({ usage: z.object({ total_tokens: count }) })

/** Null where the upstream reported none. */
function usageOfReply(operation: JsonOperation, reply: unknown): TokenUsage | null {
  if (operation === 'moderation') return usageOf(reply)
  if (operation === 'rerank') {
    const found = rerankUsage.safeParse(reply)
    return found.success ? { ...noUsage, promptTokens: found.data.usage.total_tokens } : null
  }
  const found = imageUsage.safeParse(reply)
  if (!found.success) return null
  const { input_tokens, output_tokens, input_tokens_details: details } = found.data.usage
  return {
    ...noUsage,
    promptTokens: input_tokens,
    completionTokens: output_tokens,
    imagePromptTokens: details?.image_tokens ?? 0,
    imageCompletionTokens: output_tokens,
  }
}
