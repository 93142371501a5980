// Where a request is to wait next, pure: a request with its history, the fleet and the policy in, one
// decision with its reasons out. No clock, no randomness, no state of its own: all is passed in.
// (Which of the waiting goes next is waiting-room.ts, which deployment it gets is a strategy.)
import type { Fallbacks } from '@penstock/shared/config/config'
import { type ErrorInfo, errorKinds, PenstockError } from '@penstock/shared/contracts/errors'
import type { DeploymentInfo } from '@penstock/shared/contracts/fleet'
import type { AttemptRecord } from '@penstock/shared/contracts/request'
import { meets, type Requirement } from './requirement.ts'
import { pauseAfter, type RetryRules, retryFor } from './retry.ts'

export interface FleetState {
  /** Deployments of a group that have a living worker. */
  inGroup(group: string): readonly DeploymentInfo[]
  /** False while the deployment's circuit breaker lets nothing through. */
  isHealthy(deploymentId: string): boolean
}

export interface Policy extends RetryRules {
  fallbacks: Fallbacks
  contextWindowFallbacks: Fallbacks
  contentPolicyFallbacks: Fallbacks
  defaultFallbacks: readonly string[]
  enableTagFiltering: boolean
  enablePreCallChecks: boolean
  /** Model groups whose data must stay local. */
  localGroups: ReadonlySet<string>
}

export interface Question {
  /** The group asked for, and the one it waits in now. */
  group: string
  waitsIn: string
  deadline: number
  /** Those that its key may use: fallbacks lead nowhere else. Null: any. */
  allowedGroups: readonly string[] | null
  local: boolean
  tags: readonly string[]
  promptTokens: number | null
  history: readonly AttemptRecord[]
}

export type Decision =
  /** `notBefore`: after a pause, epoch ms. */
  | {
      kind: 'queue'
      group: string
      requirement: Requirement
      notBefore: number | null
      reasons: string[]
    }
  | { kind: 'fail'; error: ErrorInfo; reasons: string[] }

export function decide(question: Question, fleet: FleetState, policy: Policy): Decision {
  const last = question.history.at(-1)
  return last === undefined
    ? begin(question, fleet, policy)
    : proceed(question, last, fleet, policy)
}

function begin(question: Question, fleet: FleetState, policy: Policy): Decision {
  const requirement = requirementOf(question, policy)
  const { waitsIn } = question
  const members = fleet.inGroup(waitsIn)
  const fitting = fittingIn(waitsIn, requirement, fleet)
  if (fitting.some(({ id }) => fleet.isHealthy(id))) return queue(waitsIn, requirement, [])

  const tooLong = members.length > 0 && isTooLong(requirement, members)
  const chain = tooLong
    ? permitted(question, policy.contextWindowFallbacks[question.group])
    : permitted(question, fallbacksOf(question.group, policy))
  const next = firstServing(chain, new Set([waitsIn]), requirement, fleet)
  if (next !== null) {
    return queue(next, requirement, [`${waitsIn} cannot serve it now`, `fallback to ${next}`])
  }
  if (tooLong) return fail(tooLongError(waitsIn, requirement.promptTokens), 'prompt too long')
  if (fitting.length > 0) return queue(waitsIn, requirement, ['every deployment is cooling down'])
  const others = chain.some((group) => fleet.inGroup(group).length > 0)
  if (requirement.local && (members.length > 0 || others)) {
    return fail(dataPolicyError(question.group), 'only cloud deployments could serve it')
  }
  return queue(waitsIn, requirement, [`no worker serves ${waitsIn}`])
}

function proceed(
  question: Question,
  last: AttemptRecord,
  fleet: FleetState,
  policy: Policy,
): Decision {
  const { history } = question
  const requirement = requirementOf(question, policy)
  const reasons = [`${last.deploymentId}: ${last.error.code}`]
  const chain = chainAfter(question, last, policy)
  const visited = new Set([question.group, ...history.map(({ group }) => group)])
  const next = firstServing(chain, visited, requirement, fleet)
  const leaves = requirement.local && couldLeave(last, chain, visited, requirement, fleet)

  const retry = retryFor(history, last, policy)
  if (retry !== 'no') {
    const except = [...new Set(history.map(({ deploymentId }) => deploymentId))].sort()
    const untried = fittingIn(last.group, { ...requirement, except }, fleet)
    if (untried.some(({ id }) => fleet.isHealthy(id))) {
      return queue(last.group, { ...requirement, except }, [...reasons, 'retry elsewhere'])
    }
    // A refused connection seldom heals in a moment, and a worker that left seldom comes back in one:
    // where a fallback stands ready, take that.
    const isServed = fittingIn(last.group, requirement, fleet).length > 0
    const isGone = last.error.code === 'upstream_unreachable' || !isServed
    const again = !isGone || (next === null && (isServed || !leaves))
    const notBefore = last.at + pauseAfter(history, last)
    if (retry === 'anywhere' && again && notBefore < question.deadline) {
      return { ...queue(last.group, requirement, [...reasons, 'retry after a pause']), notBefore }
    }
  }
  if (next !== null) return queue(next, requirement, [...reasons, `fallback to ${next}`])
  if (leaves) {
    return fail(dataPolicyError(question.group), 'only cloud deployments are left')
  }
  return { kind: 'fail', error: last.error, reasons: [...reasons, 'no attempt left'] }
}

/** Whether another attempt would be made if the data might go anywhere. */
function couldLeave(
  last: AttemptRecord,
  chain: readonly string[],
  visited: ReadonlySet<string>,
  requirement: Requirement,
  fleet: FleetState,
): boolean {
  const anywhere = { ...requirement, local: false }
  if (firstServing(chain, visited, anywhere, fleet) !== null) return true
  if (errorKinds[last.error.code].retry === 'no') return false
  const others = fittingIn(last.group, anywhere, fleet)
  return others.some(({ id, locality }) => locality !== 'local' && fleet.isHealthy(id))
}

function queue(group: string, requirement: Requirement, reasons: string[]) {
  return { kind: 'queue' as const, group, requirement, notBefore: null, reasons }
}

function fail(error: ErrorInfo, reason: string): Decision {
  return { kind: 'fail', error, reasons: [reason] }
}

function requirementOf(question: Question, policy: Policy): Requirement {
  return {
    local: question.local || policy.localGroups.has(question.group),
    tags: policy.enableTagFiltering ? [...question.tags].sort() : null,
    promptTokens: policy.enablePreCallChecks ? question.promptTokens : null,
    except: [],
  }
}

function fittingIn(group: string, requirement: Requirement, fleet: FleetState) {
  const members = fleet.inGroup(group)
  return members.filter((info) => meets(requirement, info, members))
}

/** The first group of the chain that was not visited and has a healthy deployment that fits. */
function firstServing(
  chain: readonly string[],
  visited: ReadonlySet<string>,
  requirement: Requirement,
  fleet: FleetState,
): string | null {
  const serves = (group: string) =>
    fittingIn(group, requirement, fleet).some(({ id }) => fleet.isHealthy(id))
  return chain.find((group) => !visited.has(group) && serves(group)) ?? null
}

function chainAfter(question: Question, last: AttemptRecord, policy: Policy): readonly string[] {
  const { group } = question
  const { code } = last.error
  if (code === 'context_window_exceeded') {
    return permitted(question, policy.contextWindowFallbacks[group])
  }
  if (code === 'content_policy_violation') {
    return permitted(question, policy.contentPolicyFallbacks[group])
  }
  return errorKinds[code].retry === 'no' ? [] : permitted(question, fallbacksOf(group, policy))
}

function permitted({ allowedGroups }: Question, chain: readonly string[] = []): readonly string[] {
  return allowedGroups === null ? chain : chain.filter((group) => allowedGroups.includes(group))
}

function fallbacksOf(group: string, policy: Policy): readonly string[] {
  const { fallbacks, defaultFallbacks } = policy
  return [...(fallbacks[group] ?? []), ...(fallbacks['*'] ?? []), ...defaultFallbacks]
}

function isTooLong({ promptTokens }: Requirement, members: readonly DeploymentInfo[]): boolean {
  if (promptTokens === null) return false
  return members.every((one) => one.maxInputTokens !== null && one.maxInputTokens < promptTokens)
}

function tooLongError(group: string, promptTokens: number | null): ErrorInfo {
  const message = `The prompt (about ${promptTokens} tokens) is too long for every deployment of ${group}.`
  return new PenstockError('context_window_exceeded', message, { param: 'messages' }).info
}

function dataPolicyError(group: string): ErrorInfo {
  const message = `The data must stay local, and no local deployment can serve ${group}.`
  return new PenstockError('data_policy', message).info
}
