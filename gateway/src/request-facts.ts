// What a request says of itself in its envelope, however it is asked: by a client, as a line of a batch
// or in the background. Who asks, for which model, and how it is to be treated.
import type { IncomingMessage } from 'node:http'
import type { PenstockConfig } from '@penstock/shared/config/config'
import type { RequestEnvelope } from '@penstock/shared/contracts/request'
import type { ResolvedModel } from './access/model-access.ts'
import type { Identity } from './auth.ts'
import { endUserOf, sessionOf, tagsWith } from './client-texts.ts'
import type { LocalSessions } from './local-sessions.ts'
import { type RoutingFacts, routingFacts } from './routing-facts.ts'
import type { KnownFields } from './schemas.ts'

export type RequestFacts = RoutingFacts &
  ResolvedModel &
  Pick<RequestEnvelope, 'requestedModel' | 'caller' | 'tags' | 'sessionId' | 'storePrompts'>

export interface FactsQuestion {
  /** For the headers that say how it is to be treated. */
  from: Pick<IncomingMessage, 'headers'>
  request: KnownFields
  identity: Identity
  resolved: ResolvedModel
}

/**
 * Only a request that belongs to a session has to ask the store whether the session is marked.
 * @throws PenstockError `invalid_request` naming the header; its promise `service_unavailable`
 */
export function requestFacts(
  { config, localSessions }: { config: PenstockConfig; localSessions: LocalSessions },
  { from, request, identity, resolved }: FactsQuestion,
): RequestFacts | Promise<RequestFacts> {
  const { caller, facts: key } = identity
  const facts: RequestFacts = {
    ...routingFacts(from, request, identity, config),
    ...resolved,
    requestedModel: request.model,
    caller: { ...caller, endUser: endUserOf(request, from.headers) },
    tags: tagsWith(key?.tags ?? [], request, from.headers),
    sessionId: sessionOf(request),
    storePrompts: key?.storePrompts ?? config.penstock.storePrompts,
  }
  if (facts.sessionId === null) return facts
  const isGroupLocal = config.penstock.modelGroups[resolved.group]?.data === 'local'
  const demanded = facts.local || isGroupLocal
  return localSessions.hold(facts.sessionId, demanded).then((local) => ({ ...facts, local }))
}
