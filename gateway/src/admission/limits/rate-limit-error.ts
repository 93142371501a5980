// How a refused request is told which limit refused it, and when to come again.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { limitOf, type Refusal } from './limiter.ts'
import type { Scope } from './scope.ts'

const units = {
  requests: 'requests per minute',
  tokens: 'tokens per minute',
  parallel: 'requests at the same time',
} as const

/** @param promptTokens what the request was counted with */
export function rateLimitError(refusal: Refusal, promptTokens: number): PenstockError {
  const { scope, kind, retryAfterMs } = refusal
  const limit = `${limitOf(scope, kind)} ${units[kind]}`
  if (retryAfterMs === null) {
    const message = `The prompt, about ${promptTokens} tokens, is above the limit of ${nameOf(scope)}: ${limit}.`
    return new PenstockError('rate_limited', message)
  }
  const seconds = Math.max(1, Math.ceil(retryAfterMs / 1_000))
  const message = `Rate limit reached for ${nameOf(scope)}: ${limit}. Try again in ${seconds} s.`
  return new PenstockError('rate_limited', message, { retryAfterMs })
}

function nameOf({ kind, owner, model }: Scope): string {
  const what = kind === 'member' ? 'team member' : kind
  return `${what} \`${owner}\`${model === '' ? '' : ` and model \`${model}\``}`
}
