// Runs one call of a provider, resolved as a worker does it, and puts its answer together: the same
// outcome for a whole answer and for a stream.
import type { Deployment } from '@penstock/shared/config/deployment'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { ProviderResult } from '@penstock/workers/providers/provider'
import { testCall } from '@penstock/workers/providers/provider-test-kit'
import { resolveProvider } from '@penstock/workers/providers/resolve'

export interface Message {
  role: string
  content: string | null
  reasoning_content?: string
  thinking_blocks?: unknown[]
  tool_calls?: { index?: number; id: string; type: string; function: Record<string, string> }[]
}

export interface Outcome {
  result: ProviderResult | null
  error: PenstockError | null
  message: Message
  finish: string | null
}

type CallOptions = NonNullable<Parameters<typeof testCall>[1]>

/** Rejects for nothing but what is no PenstockError. */
export async function runProvider(
  deployment: Partial<Deployment>,
  body: Record<string, unknown>,
  options: CallOptions = {},
): Promise<Outcome> {
  let text = ''
  const call = testCall(body, {
    includeUsage: true,
    emit: (bytes) => {
      text += Buffer.from(bytes).toString()
    },
    ...options,
    deployment: { ...deployment, ...options.deployment },
  })
  const { entry, model, apiBase, apiKey, defaults } = resolveProvider(call.deployment, {})
  const resolved = { ...call.deployment, apiBase, apiKey, defaults }
  const ready = { ...call, model, deployment: resolved, body: { ...defaults, ...call.body } }
  const outcome = await entry.provider.run(ready).then(
    (result) => ({ result, error: null }),
    (error: unknown) => {
      if (!(error instanceof PenstockError)) throw error
      return { result: null, error }
    },
  )
  const reply = outcome.result?.body
  if (!reply) return { ...outcome, ...joined(text) }
  const [choice] = JSON.parse(Buffer.from(reply).toString()).choices
  return { ...outcome, message: choice.message, finish: choice.finish_reason }
}

/** A stream's deltas put together, as OpenAI's SDK does it. */
function joined(text: string): { message: Message; finish: string | null } {
  const message: Message = { role: '', content: '' }
  let finish: string | null = null
  for (const event of text.split('\n\n').slice(0, -1)) {
    const [choice] = JSON.parse(event.slice('data: '.length)).choices
    if (choice === undefined) continue
    const { delta, finish_reason: reason } = choice
    finish = reason ?? finish
    if (delta.role) message.role = delta.role
    message.content += delta.content ?? ''
    if (delta.reasoning_content) {
      message.reasoning_content = (message.reasoning_content ?? '') + delta.reasoning_content
    }
    if (delta.thinking_blocks) message.thinking_blocks = delta.thinking_blocks
    for (const { index, ...piece } of delta.tool_calls ?? []) {
      message.tool_calls ??= []
      const known = message.tool_calls[index]
      if (known === undefined) message.tool_calls[index] = piece
      else known.function.arguments += piece.function.arguments
    }
  }
  if (message.content === '' && message.tool_calls) message.content = null
  return { message, finish }
}
