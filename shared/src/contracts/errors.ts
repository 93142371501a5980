// The one table of what can go wrong, as clients see it: a stable code, an HTTP status and an
// OpenAI-style type each. Everything that fails in Penstock fails with one of these codes.
import { z } from 'zod'

/**
 * `retry` says what may help, and the router acts on it:
 * `no` (the request itself is at fault), `elsewhere` (this deployment is at fault: another one or a
 * fallback may answer), `anywhere` (a passing fault: the same deployment may answer next time).
 */
interface ErrorKind {
  status: number
  type: string
  retry: 'no' | 'elsewhere' | 'anywhere'
}

const kind = (status: number, type: string, retry: ErrorKind['retry'] = 'no'): ErrorKind => ({
  status,
  type,
  retry,
})

export const errorKinds = {
  // the client's request
  invalid_request: kind(400, 'invalid_request_error'),
  unsupported_parameter: kind(400, 'invalid_request_error', 'elsewhere'),
  authentication_failed: kind(401, 'auth_error'),
  key_expired: kind(401, 'expired_key'),
  permission_denied: kind(403, 'permission_error'),
  model_access_denied: kind(403, 'key_model_access_denied'),
  data_policy: kind(403, 'data_policy'),
  model_not_found: kind(404, 'model_not_found'),
  not_found: kind(404, 'not_found_error'),
  conflict: kind(409, 'conflict_error'),
  request_too_large: kind(413, 'request_too_large'),
  client_closed_request: kind(499, 'client_closed_request'),
  // what it may use
  rate_limited: kind(429, 'rate_limit_error'),
  budget_exceeded: kind(429, 'budget_exceeded'),
  price_unknown: kind(403, 'price_unknown'),
  // waiting
  queue_full: kind(429, 'rate_limit_error'),
  queue_timeout: kind(429, 'rate_limit_error'),
  deadline_exceeded: kind(504, 'timeout_error'),
  no_deployment_available: kind(503, 'service_unavailable_error'),
  // the upstream
  upstream_bad_request: kind(400, 'invalid_request_error'),
  context_window_exceeded: kind(400, 'context_window_exceeded'),
  content_policy_violation: kind(400, 'content_policy_violation'),
  upstream_auth_failed: kind(401, 'auth_error', 'elsewhere'),
  upstream_not_found: kind(404, 'not_found_error', 'elsewhere'),
  upstream_rate_limited: kind(429, 'rate_limit_error', 'anywhere'),
  upstream_error: kind(502, 'api_error', 'anywhere'),
  upstream_unreachable: kind(502, 'api_connection_error', 'anywhere'),
  upstream_invalid_response: kind(502, 'api_error', 'anywhere'),
  upstream_cut_off: kind(502, 'api_error', 'anywhere'),
  upstream_timeout: kind(504, 'timeout_error', 'anywhere'),
  // ourselves
  interrupted: kind(502, 'api_error', 'anywhere'),
  service_unavailable: kind(503, 'service_unavailable_error', 'anywhere'),
  internal_error: kind(500, 'api_error'),
} as const satisfies Record<string, ErrorKind>

export type ErrorCode = keyof typeof errorKinds

const codes = Object.keys(errorKinds) as [ErrorCode, ...ErrorCode[]]

/** An error as it travels between services. `status` is the HTTP status the client gets. */
export const errorInfo = z.object({
  code: z.enum(codes),
  status: z.int().min(400).max(599),
  message: z.string(),
  param: z.string().nullable(),
  /** What the upstream (or our queue) asked the client to wait, in milliseconds. */
  retryAfterMs: z.int().min(0).nullable(),
})
export type ErrorInfo = z.infer<typeof errorInfo>

interface ErrorDetails {
  /** Overrides the table's status, where an upstream's own status is to be kept. */
  status?: number
  param?: string | null
  retryAfterMs?: number | null
  cause?: unknown
}

/** Thrown anywhere in Penstock; `info` is what crosses the bus and reaches the client. */
export class PenstockError extends Error {
  readonly info: ErrorInfo

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.name = 'PenstockError'
    this.info = {
      code,
      status: details.status ?? errorKinds[code].status,
      message,
      param: details.param ?? null,
      retryAfterMs: details.retryAfterMs ?? null,
    }
  }

  get code(): ErrorCode {
    return this.info.code
  }
}

/** Any thrown value as an ErrorInfo. An unforeseen one keeps its text out of the client's sight. */
export function toErrorInfo(error: unknown): ErrorInfo {
  if (error instanceof PenstockError) return error.info
  return new PenstockError('internal_error', 'An internal error occurred.').info
}

/** The body that OpenAI and LiteLLM clients expect; `code` is the status as a string. */
export function errorBody(info: ErrorInfo) {
  return {
    error: {
      message: info.message,
      type: errorKinds[info.code].type,
      param: info.param,
      code: String(info.status),
    },
  }
}
