// The client's bytes as a provider takes them: OpenAI's form with the deployment's defaults; what came
// in another dialect is translated, unless the provider's upstreams speak it themselves.
import type { Deployment } from '@penstock/shared/config/deployment'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { WorkEnvelope } from '@penstock/shared/contracts/request'
import { dialectOf } from '@penstock/shared/dialects/table'
import { withoutExtensions } from './chat-extensions.ts'
import type { NativeCall, ProviderEntry } from './providers/provider.ts'

export interface ReadBody {
  body: Record<string, unknown>
  /** Null: the body is canonical. */
  native: NativeCall | null
}

interface Target {
  deployment: Deployment
  entry: ProviderEntry
}

/**
 * @throws PenstockError `unsupported_parameter` for what only an upstream of the client's dialect can
 *   do, `invalid_request`
 */
export function readBody(work: WorkEnvelope, bytes: Uint8Array, target: Target): ReadBody {
  const { deployment, entry } = target
  const { dialect: name, dialectHeaders: headers } = work
  const limited = (body: Record<string, unknown>) => ({
    body: withinReserved(work, body, deployment),
    native: null,
  })
  const parsed: Record<string, unknown> = JSON.parse(Buffer.from(bytes).toString('utf8'))
  const dialect = dialectOf(name)
  if (dialect === null) return limited({ ...deployment.defaults, ...parsed })
  // What was reserved for is asked for in the canonical form alone.
  if (entry.native?.includes(name) && work.answerLimit === null)
    return { body: parsed, native: { dialect: name, headers } }
  const refusal = dialect.untranslatable?.(parsed) ?? null
  if (refusal !== null) {
    const { message, param } = refusal
    throw new PenstockError('unsupported_parameter', message, { param })
  }
  const canonical = withoutExtensions(dialect.toCanonical(parsed).body, entry.extensions ?? [])
  return limited({ ...deployment.defaults, ...canonical })
}

/** An answer that its budget was reserved for must not become longer than that. */
function withinReserved(
  { answerLimit, operation }: WorkEnvelope,
  body: Record<string, unknown>,
  { maxOutputTokens }: Deployment,
): Record<string, unknown> {
  const isBound = body.max_tokens != null || body.max_completion_tokens != null
  if (answerLimit === null || maxOutputTokens !== null || isBound) return body
  if (operation === 'chat') return { ...body, max_completion_tokens: answerLimit }
  return operation === 'completion' ? { ...body, max_tokens: answerLimit } : body
}
