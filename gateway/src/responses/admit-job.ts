// Admission of a background response's request: at its beginning, and again each time it is asked anew.
import { responses } from '@penstock/shared/dialects/responses/responses'
import type { Admitted } from '../admission/admission.ts'
import type { Gateway } from '../gateway.ts'
import { chatRequest, parseRequest } from '../schemas.ts'
import type { BackgroundJob } from './background-job.ts'

/** @throws PenstockError as admission does */
export async function admitJob(
  { admission, config }: Pick<Gateway, 'admission' | 'config'>,
  { envelope, keyFacts, body }: BackgroundJob,
  requestId: string,
): Promise<Admitted> {
  const { operation, model, group, allowedGroups, promptTokens } = envelope
  return admission.admit({
    requestId,
    facts: keyFacts,
    operation,
    model,
    group,
    allowedGroups,
    request: parseRequest(chatRequest, responses.toCanonical(body).body),
    bodyBytes: Buffer.byteLength(JSON.stringify(body)),
    promptTokens,
    receivedAt: Date.now(),
    timeoutMs: config.requestTimeoutMs,
  })
}
