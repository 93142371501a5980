// All that it takes to run a background response, as it lies in NATS until the response has ended: any
// gateway can take it up.
import { keyFacts } from '@penstock/shared/contracts/access'
import { requestEnvelope } from '@penstock/shared/contracts/request'
import { responsesRequest } from '@penstock/shared/dialects/responses/request'
import { z } from 'zod'
import { storedResponse } from './response-store.ts'

export const backgroundJob = z.object({
  id: z.string(),
  /** Epoch seconds. */
  createdAt: z.int(),
  owner: z.string(),
  /** As the client sent it, without its input: what the response echoes. */
  request: responsesRequest,
  /** The same with the conversation before it: what the worker gets. */
  body: z.record(z.string(), z.unknown()),
  input: storedResponse.shape.input,
  envelope: requestEnvelope.omit({
    id: true,
    gatewayId: true,
    replyTo: true,
    body: true,
    history: true,
    deadline: true,
    waitsIn: true,
    // Of each admission.
    answerLimit: true,
  }),
  /** As they were when it was accepted. */
  keyFacts: keyFacts.nullable(),
  traceparent: z.string().nullable(),
})
export type BackgroundJob = z.infer<typeof backgroundJob>
