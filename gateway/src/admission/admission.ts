// Whether a request may run: within the limits of its key, team and user, and paid for beforehand
// where one of them has a budget. Whatever it takes here is given back at its end, however it ends.
import type { Bus } from '@penstock/shared/bus/connect'
import type { FleetView } from '@penstock/shared/bus/fleet-view'
import type { FrameEnd, FrameHead } from '@penstock/shared/bus/frame-codec'
import type { PenstockConfig } from '@penstock/shared/config/config'
import type { KeyFacts } from '@penstock/shared/contracts/access'
import type { Standing } from '@penstock/shared/contracts/budget'
import type { ErrorCode, ErrorInfo } from '@penstock/shared/contracts/errors'
import type { Operation } from '@penstock/shared/contracts/request'
import type { Logger } from '@penstock/shared/telemetry/log'
import type { KnownFields } from '../schemas.ts'
import { createAllowances } from './allowances.ts'
import type { Limiter, Verdict } from './limits/limiter.ts'
import { rateLimitError } from './limits/rate-limit-error.ts'
import { type Scope, scopesOf } from './limits/scope.ts'
import { createReleases } from './releases.ts'
import { hasToReserve, type SetAside, setAside } from './set-aside.ts'
import {
  costOfAnswer,
  type Headers,
  type KeyStanding,
  moneyHeaders,
  rateHeaders,
} from './standing-headers.ts'
import { createWorstCases } from './worst-case.ts'

export interface AdmissionQuestion {
  requestId: string
  /** Null: an admin, who has neither limits nor budgets. */
  facts: KeyFacts | null
  operation: Operation
  /** The model with aliases resolved, its group, and where fallbacks may lead (null: anywhere). */
  model: string
  group: string
  allowedGroups: string[] | null
  request: KnownFields
  bodyBytes: number
  /** Rough size of the prompt. */
  promptTokens: number
  /** Epoch milliseconds, and the time the request has from then on. */
  receivedAt: number
  timeoutMs: number
  /** Told of the rate limits, whether or not they let the request through. */
  onHeader?: (name: string, value: string) => void
}

/** `left`: its client went away. `unsent`: it was never dispatched. */
export type Outcome =
  | { kind: 'answered'; end: FrameEnd }
  | { kind: 'failed'; error: ErrorInfo }
  | { kind: 'left' }
  | { kind: 'unsent' }

export interface Admitted {
  /** As asked for, or fewer: those that are paid for. */
  allowedGroups: string[] | null
  /** Tokens that an answer may have where nothing else bounds it; null: nothing was reserved. */
  answerLimit: number | null
  /** Names without prefix. @param end where the answer is complete: then its cost is known */
  headers(head: FrameHead, end: FrameEnd | null): Headers
  /** To be called exactly once. */
  settled(outcome: Outcome): void
}

export interface Admission {
  /**
   * @throws PenstockError, or its promise: `rate_limited`, `budget_exceeded`, `price_unknown`,
   *   `no_deployment_available`; `service_unavailable` where nobody can count or reserve
   */
  admit(question: AdmissionQuestion): Admitted | Promise<Admitted>
  /** As readiness names them. */
  problems(): string[]
  close(): Promise<void>
}

export interface AdmissionOptions {
  bus: Bus
  fleet: Pick<FleetView, 'inGroup' | 'deployments'>
  limiter: Limiter
  /** Asked for each request: it may be reloaded. */
  config(): PenstockConfig
  log: Logger
}

/** Nothing of a request runs so long after its deadline, in milliseconds. */
const leaseGraceMs = 10_000
/** Usage of a call that was cancelled has so long to arrive, in milliseconds. */
const usageOnItsWayMs = 15_000
/** Failures after which an attempt may still run, or not have told its usage yet. */
const inconclusive: readonly ErrorCode[] = [
  'deadline_exceeded',
  'interrupted',
  'client_closed_request',
  'service_unavailable',
  'upstream_invalid_response',
  'internal_error',
]

export function createAdmission(options: AdmissionOptions): Admission {
  const { bus, fleet, limiter, config, log } = options
  const cases = createWorstCases(fleet, () => config().penstock.budgets)
  const releases = createReleases(bus, log)
  const allowances = createAllowances(bus, log)
  /** Cost seen here since the facts were looked up, in pico-dollars; gone with them. */
  const seen = new WeakMap<KeyFacts, bigint>()

  const costOf = (head: FrameHead, end: FrameEnd | null, { group, model }: Named) =>
    end === null ? null : costOfAnswer(fleet, head, end, head.group === group ? model : head.group)

  const free: Admitted = {
    allowedGroups: null,
    answerLimit: null,
    headers: (head, end) => moneyHeaders(costOf(head, end, { group: '', model: '' }), null),
    settled: () => {},
  }

  function keyStanding(facts: KeyFacts, accounts: readonly Standing[]): KeyStanding {
    const account = accounts.find(({ kind, model }) => kind === 'key' && model === '')
    if (account !== undefined) {
      const limit = account.limit === null ? null : BigInt(account.limit)
      return { spent: BigInt(account.spent), limit }
    }
    const spent = BigInt(facts.spent)
    const limit = facts.remaining === null ? null : spent + BigInt(facts.remaining)
    return { spent: spent + (seen.get(facts) ?? 0n), limit }
  }

  function unboundedAnswer({ max_tokens: max, max_completion_tokens: newer }: KnownFields) {
    return max == null && newer == null ? config().penstock.budgets.defaultMaxTokens : null
  }

  function admitted(
    question: Restricted,
    verdict: Verdict | null,
    reserved: SetAside | null,
  ): Admitted {
    const { requestId, facts } = question
    // A stream's comes with its first bytes, what it took with its last.
    let first: FrameHead | null = null
    return {
      allowedGroups: reserved === null ? question.allowedGroups : reserved.allowedGroups,
      answerLimit: reserved === null ? null : unboundedAnswer(question.request),
      headers(head, end) {
        first = head
        const standing = keyStanding(facts, reserved?.accounts() ?? [])
        return moneyHeaders(costOf(head, end, question), standing)
      },
      settled(outcome) {
        const isOver = outcome.kind !== 'left' && !isInconclusive(outcome)
        if (verdict !== null) settleLimits(verdict, outcome, isOver)
        if (outcome.kind === 'answered') {
          const head = outcome.end.head ?? first
          const cost = head === null ? null : costOf(head, outcome.end, question)
          if (cost !== null) {
            seen.set(facts, (seen.get(facts) ?? 0n) + cost)
            reserved?.spent(cost)
          }
        } else if (reserved !== null) {
          release(requestId, isOver ? 0 : usageOnItsWayMs)
        }
      },
    }
  }

  /** Not before billing knows of it: there would be nothing to release yet. */
  function release(requestId: string, within: number): void {
    const told = allowances.told(requestId)
    if (told === null) releases.release(requestId, within)
    else void told.then(() => releases.release(requestId, within))
  }

  async function reserve(question: Restricted, verdict: Verdict | null): Promise<Admitted> {
    const deadline = question.receivedAt + question.timeoutMs
    try {
      // It would be held until its lease ends, for a request that never ran.
      const giveBack = () => releases.release(question.requestId, 0)
      const options = { bus, config: config(), cases, allowances }
      const reserved = await setAside(options, { ...question, deadline }, giveBack)
      return admitted(question, verdict, reserved)
    } catch (cause) {
      verdict?.undo()
      throw cause
    }
  }

  function proceed(question: Restricted, verdict: Verdict | null): Admitted | Promise<Admitted> {
    if (verdict !== null) {
      const { standing, refusal } = verdict
      for (const [name, value] of rateHeaders(standing)) question.onHeader?.(name, value)
      if (refusal !== null) throw rateLimitError(refusal, question.promptTokens)
    }
    const pays = hasToReserve(config(), question)
    return pays ? reserve(question, verdict) : admitted(question, verdict, null)
  }

  return {
    admit(question) {
      const { facts, group } = question
      if (facts === null) {
        // Only the name of a wildcard group's model takes more than the answer's own head.
        if (!group.includes('*')) return free
        return { ...free, headers: (head, end) => moneyHeaders(costOf(head, end, question), null) }
      }
      const restricted = { ...question, facts }
      const scopes = scopesFor(facts, question)
      if (scopes.length === 0) return proceed(restricted, null)
      const { requestId, promptTokens: tokens, receivedAt, timeoutMs } = question
      const lastsMs = Math.max(0, receivedAt + timeoutMs - Date.now()) + leaseGraceMs
      const verdict = limiter.take({ requestId, scopes, tokens, lastsMs })
      return verdict instanceof Promise
        ? verdict.then((one) => proceed(restricted, one))
        : proceed(restricted, verdict)
    },
    problems: () => limiter.problems(),
    async close() {
      await allowances.close()
      await Promise.all([releases.close(), limiter.close()])
    },
  }
}

type Named = Pick<AdmissionQuestion, 'group' | 'model'>
type Restricted = AdmissionQuestion & { facts: KeyFacts }

function scopesFor(facts: KeyFacts, { group, model }: Named): Scope[] {
  return facts.limits.length === 0
    ? []
    : scopesOf(facts, group === model ? [group] : [group, model])
}

function isInconclusive(outcome: Outcome): boolean {
  return outcome.kind === 'failed' && inconclusive.includes(outcome.error.code)
}

/** A request that failed for good took no tokens; one that was cut off may have. */
function settleLimits(verdict: Verdict, outcome: Outcome, isOver: boolean): void {
  if (outcome.kind === 'unsent') verdict.undo()
  else if (outcome.kind === 'answered') {
    const { promptTokens, completionTokens } = outcome.end.usage
    verdict.settle(promptTokens + completionTokens)
  } else verdict.settle(isOver ? 0 : null)
}
