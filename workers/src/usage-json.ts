// A usage event as it travels: checked on its own, so that a bad one harms no other, and bounded, so
// that it fits into a message whatever a client or an upstream put into it.
import { PenstockError } from '@penstock/shared/contracts/errors'
import { type UsageEvent, usageEvent } from '@penstock/shared/contracts/usage'
import type { Logger } from '@penstock/shared/telemetry/log'

/** The largest event, in bytes of JSON. */
export const maxEventBytes = 64 * 1024
const maxErrorMessage = 2_000
const maxText = 256

/**
 * What is too large is recorded without what only describes it: an attempt that cost money has its
 * row in any case.
 * @throws ZodError when it is no usage event, PenstockError `internal_error` when it is too large
 *   even so. Both are final.
 */
export function usageJson(event: UsageEvent, log: Logger): string {
  const { error } = event
  const message = error?.message.slice(0, maxErrorMessage)
  const param = error?.param?.slice(0, maxText) ?? null
  const bounded = error === null ? event : { ...event, error: { ...error, message, param } }
  const checked = usageEvent.parse(bounded)
  const json = JSON.stringify(checked)
  const bytes = Buffer.byteLength(json)
  if (bytes <= maxEventBytes) return json
  const { requestId, correlationId, attempt } = checked
  log.warn({ requestId, correlationId, attempt, bytes }, 'a usage event was too large and is cut')
  const essentials = JSON.stringify(essentialsOf(checked))
  if (Buffer.byteLength(essentials) <= maxEventBytes) return essentials
  throw new PenstockError('internal_error', 'The usage event is too large.')
}

/** Without the fields that a client fills as it likes. */
function essentialsOf(event: UsageEvent): UsageEvent {
  return {
    ...event,
    requestedModel: event.requestedModel.slice(0, maxText),
    caller: { ...event.caller, endUser: event.caller.endUser?.slice(0, maxText) ?? null },
    tags: [],
    sessionId: null,
    content: null,
  }
}
