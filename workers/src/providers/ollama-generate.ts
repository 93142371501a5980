// /api/generate: OpenAI's legacy text completion, which code editors use to fill in the middle.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { z } from 'zod'
import { createdNow, newId } from './answer-head.ts'
import {
  type EndpointCall,
  finishReason,
  parseReply,
  type Translate,
  unexpected,
} from './ollama-endpoint.ts'
import { mapParameters, type ParameterRules } from './ollama-parameters.ts'
import { openaiUsage, usageOf } from './ollama-usage.ts'
import type { ProviderCall } from './provider.ts'
import { unlessFalse } from './refusals.ts'
import { parseField } from './request-fields.ts'

const rules: ParameterRules = {
  own: new Set(['prompt', 'suffix', 'raw']),
  native: new Set([
    'context',
    'format',
    'images',
    'keep_alive',
    'shift',
    'system',
    'template',
    'think',
    'truncate',
  ]),
  // Ollama has them in the shape of a chat's, which a text completion has no place for.
  refused: new Map([['logprobs', unlessFalse]]),
}

const prompts = z.union([z.string().transform((one) => [one]), z.array(z.unknown()).min(1)])
const generateReply = z.object({
  response: z.string().nullish(),
  thinking: z.string().nullish(),
  done: z.literal(true),
  done_reason: z.unknown().optional(),
  prompt_eval_count: z.unknown().optional(),
  eval_count: z.unknown().optional(),
})

/** @throws PenstockError `invalid_request`, `unsupported_parameter` */
export function generateCall(call: ProviderCall): EndpointCall {
  const { body, fields } = mapParameters(call, rules)
  const suffix = parseField(z.string().optional(), body.suffix, 'suffix')
  return {
    path: '/api/generate',
    request: {
      model: call.model,
      prompt: onePrompt(body.prompt),
      ...(suffix ? { suffix } : {}),
      ...(isRaw(body, fields, suffix) ? { raw: true } : {}),
      ...fields,
      stream: call.stream,
    },
    reply: (parsed) => textCompletion(parsed, call.model),
    stream: () => textChunks(call.model, call.includeUsage),
  }
}

/**
 * A text completion continues the prompt as it stands, with the fill-in-the-middle tokens that a
 * client may have put there: `raw`, else Ollama would wrap it into the model's chat template. With a
 * suffix it must be that template which arranges the two: in raw mode server/routes.go skips it and
 * the suffix is lost without a word. It refuses raw beside `system`, `template` or `context`.
 */
function isRaw(
  body: Record<string, unknown>,
  fields: Record<string, unknown>,
  suffix: string | undefined,
): boolean {
  if (suffix || fields.system || fields.template || fields.context) return false
  return body.raw !== false
}

function onePrompt(value: unknown): string {
  const [prompt, ...more] = parseField(prompts, value, 'prompt')
  if (typeof prompt === 'string' && more.length === 0) return prompt
  const message =
    more.length === 0 || typeof prompt === 'number'
      ? 'Ollama takes the prompt as text, not as tokens.'
      : 'Ollama takes one prompt per request.'
  throw new PenstockError('unsupported_parameter', message, { param: 'prompt' })
}

function textCompletion(parsed: unknown, model: string) {
  const reply = parseReply(generateReply, parsed)
  const usage = usageOf(reply)
  const body = {
    id: newId('cmpl-'),
    object: 'text_completion',
    created: createdNow(),
    model,
    choices: [
      {
        index: 0,
        text: reply.response ?? '',
        ...(reply.thinking ? { reasoning_content: reply.thinking } : {}),
        logprobs: null,
        finish_reason: finishReason(reply.done_reason, false),
      },
    ],
    ...(usage === null ? {} : { usage: openaiUsage(usage) }),
  }
  return { body, usage }
}

/** The translator of one stream; a chunk's fixed parts are serialized once. */
function textChunks(model: string, includeUsage: boolean): Translate {
  const chunk = { id: newId('cmpl-'), object: 'text_completion', created: createdNow(), model }
  const head = `data: ${JSON.stringify(chunk).slice(0, -1)},"choices":[`
  const event = (fields: string, finish: string) =>
    `${head}{"index":0,${fields},"logprobs":null,"finish_reason":${finish}}]}\n\n`

  return (line) => {
    const text = textOf(line.response)
    const thinking = textOf(line.thinking)
    let events = ''
    if (thinking !== '') {
      events = event(`"text":"","reasoning_content":${JSON.stringify(thinking)}`, 'null')
    }
    if (text !== '') events += event(`"text":${JSON.stringify(text)}`, 'null')
    if (line.done !== true) return events
    events += event('"text":""', JSON.stringify(finishReason(line.done_reason, false)))
    const usage = includeUsage ? usageOf(line) : null
    return usage === null
      ? events
      : `${events}${head}],"usage":${JSON.stringify(openaiUsage(usage))}}\n\n`
  }
}

function textOf(value: unknown): string {
  if (value === undefined || value === null) return ''
  if (typeof value === 'string') return value
  throw unexpected('a line whose text is not text')
}
