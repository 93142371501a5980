// The client's bytes as a provider takes them: OpenAI's form with the deployment's defaults; what came
// in another dialect is translated, unless the provider's upstreams speak it themselves.
import type { Deployment } from '@penstock/shared/config/deployment'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { isUpload, type WorkEnvelope } from '@penstock/shared/contracts/request'
import { dialectOf } from '@penstock/shared/dialects/table'
import { decodeUpload, type UploadedFile } from '@penstock/shared/upload'
import { withoutExtensions } from './chat-extensions.ts'
import type { NativeCall, ProviderEntry } from './providers/provider.ts'

export interface ReadBody {
  body: Record<string, unknown>
  /** Null: the body is canonical. */
  native: NativeCall | null
  file?: UploadedFile
  /** What the client wrote, where that is not all of its bytes. */
  written?: Uint8Array
}

/** What a request is admitted, priced and reserved for by: none of it may stand where nobody looks. */
const admittedBy = ['model', 'stream', 'max_tokens', 'max_completion_tokens', 'n', 'best_of']

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
  if (isUpload(work.operation)) {
    const { fields, file } = decodeUpload(bytes)
    const written = Buffer.from(JSON.stringify(fields))
    return { body: { ...deployment.defaults, ...fields }, native: null, file, written }
  }
  const { dialect: name, dialectHeaders: headers } = work
  const limited = (body: Record<string, unknown>) => ({
    body: withinReserved(work, body, deployment),
    native: null,
  })
  // LiteLLM's `cache` is for the gateway, in whichever dialect it came.
  const { cache: _cache, ...parsed }: Record<string, unknown> = JSON.parse(
    Buffer.from(bytes).toString('utf8'),
  )
  refuseHidden(parsed.extra_body)
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

/** Providers put a client's `extra_body` on top of the request, and its word would count there. */
function refuseHidden(extra: unknown): void {
  if (typeof extra !== 'object' || extra === null) return
  const name = admittedBy.find((one) => one in extra)
  if (name === undefined) return
  const param = `extra_body.${name}`
  const message = `Invalid request: ${param}: expected beside extra_body, not in it`
  throw new PenstockError('invalid_request', message, { param })
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
