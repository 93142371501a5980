// The books of one attempt: its frames, its times, its span and, at its end, its usage event.
import { bookkeeping } from '@penstock/shared/bus/recovery'
import type { JobOutcome } from '@penstock/shared/contracts/channels'
import type { ErrorInfo } from '@penstock/shared/contracts/errors'
import {
  type DialectName,
  isBatchLine,
  type WorkEnvelope,
} from '@penstock/shared/contracts/request'
import { noUsage, type TokenUsage, type UsageEvent } from '@penstock/shared/contracts/usage'
import { usageEvent } from '@penstock/shared/sse-text'
import {
  type Span,
  SpanKind,
  SpanStatusCode,
  traceparentOf,
} from '@penstock/shared/telemetry/trace'
import { countUsage } from './count-usage.ts'
import { createFrameWriter, type FrameWriter } from './frame-writer.ts'
import { keptContent } from './kept-content.ts'
import type { ProviderResult } from './providers/provider.ts'
import type { ResolvedDeployment } from './resolved-deployment.ts'
import type { WorkerContext } from './run-job.ts'

/** Emitted bytes kept for a count of tokens, should the upstream report none. */
const maxKeptBytes = 4 * 1024 * 1024
const nothing = new Uint8Array(0)

export class Attempt {
  readonly frames: FrameWriter
  readonly #ctx: WorkerContext
  readonly #target: ResolvedDeployment
  readonly #work: WorkEnvelope
  readonly #number: number
  readonly #traceparent: string | null
  /** The request as sent to the provider, once it is parsed; and as the client sent it. */
  #body: Record<string, unknown> | null = null
  #received: Uint8Array = nothing
  /** The dialect of body and answer, where they are not canonical. */
  #native: DialectName | null = null
  /** Of a whole answer that is not JSON. */
  #contentType: string | null = null
  #span: Span | null = null
  #startedAt = Date.now()
  #firstAt: number | null = null
  #kept: Uint8Array[] = []
  #keptBytes = 0
  #emittedBytes = 0

  constructor(
    ctx: WorkerContext,
    target: ResolvedDeployment,
    work: WorkEnvelope,
    number: number,
    traceparent: string | null,
  ) {
    this.#ctx = ctx
    this.#target = target
    this.#work = work
    this.#number = number
    this.#traceparent = traceparent
    const visited = new Set(work.history.map((line) => line.group)).add(work.servingGroup)
    this.frames = createFrameWriter(ctx.bus, ctx.finished, work.replyTo, number, () => ({
      deploymentId: work.deploymentId,
      group: work.servingGroup,
      retries: number - visited.size,
      fallbacks: visited.size - 1,
      upstreamMs: elapsed(this.#startedAt, Date.now()),
      ...(this.#native === null ? {} : { dialect: this.#native }),
      ...(this.#contentType === null ? {} : { contentType: this.#contentType }),
    }))
  }

  /** To be told before anything is emitted. @param native the dialect of a body that is not canonical */
  read(body: Record<string, unknown>, received: Uint8Array, native: DialectName | null): void {
    this.#body = body
    this.#received = received
    this.#native = native
  }

  begin(): void {
    const { operation, id, correlationId } = this.#work
    const { prefix, model } = this.#target
    this.#startedAt = Date.now()
    // OpenTelemetry semantic conventions for generative AI: a client span named `operation model`.
    this.#span = this.#ctx.tracing.start(`${operation} ${model}`, {
      kind: SpanKind.CLIENT,
      parent: this.#traceparent,
      attributes: {
        'gen_ai.operation.name': operation === 'embedding' ? 'embeddings' : operation,
        'gen_ai.provider.name': prefix,
        'gen_ai.request.model': model,
        'penstock.attempt': this.#number,
        'penstock.request_id': id,
        'penstock.correlation_id': correlationId,
      },
    })
  }

  emit(events: Uint8Array): void {
    this.#firstAt ??= Date.now()
    this.#emittedBytes += events.length
    if (this.#keptBytes < maxKeptBytes) {
      this.#kept.push(events)
      this.#keptBytes += events.length
    }
    this.frames.data(events)
  }

  /**
   * Resolves when the usage is stored. The last frame follows the usage in the same write, so NATS has
   * stored the one before it passes on the other: what is answered is in the ledger.
   */
  async succeed({ body, usage, contentType }: ProviderResult): Promise<JobOutcome> {
    const endedAt = Date.now()
    this.#contentType = contentType ?? null
    const counted = this.#atRate(usage ?? (await this.#count(body)))
    const isReadable = contentType === undefined || contentType.startsWith('text/')
    if (body !== null && isReadable && this.#work.storePrompts) this.#kept.push(body)
    await this.#store('success', null, counted, endedAt, () => {
      if (usage === null && this.#work.stream && this.#work.includeUsage) {
        this.frames.data(usageEvent(this.#kept, counted))
      }
      this.frames.end(body, { usage: counted, startedAt: this.#startedAt, endedAt })
    })
    return this.#outcome(null, counted, endedAt)
  }

  /** @param error `client_closed_request` makes it a cancelled attempt. */
  async fail(error: ErrorInfo): Promise<JobOutcome> {
    const endedAt = Date.now()
    const cancelled = error.code === 'client_closed_request'
    // What the upstream has generated it will charge for, whether anybody reads it or not.
    const used = cancelled || this.frames.begun ? this.#atRate(await this.#count(null)) : noUsage
    await this.#store(cancelled ? 'cancelled' : 'failure', error, used, endedAt, () => {
      if (this.frames.begun && !cancelled) this.frames.error(error)
    })
    return this.#outcome(error, used, endedAt)
  }

  async #store(
    status: UsageEvent['status'],
    error: ErrorInfo | null,
    usage: TokenUsage,
    endedAt: number,
    onSent: () => void,
  ): Promise<void> {
    this.#endSpan(error, usage)
    await this.#ctx.usage.publish(this.#event(status, error, usage, endedAt), onSent)
    const { id: requestId, correlationId, servingGroup: group, deploymentId } = this.#work
    this.#ctx.log.info(
      {
        requestId,
        correlationId,
        group,
        deploymentId,
        attempt: this.#number,
        status,
        ...(error === null ? {} : { code: error.code }),
        promptTokens: usage.promptTokens,
        completionTokens: usage.completionTokens,
        ms: elapsed(this.#startedAt, endedAt),
      },
      'attempt ended',
    )
  }

  #event(
    status: UsageEvent['status'],
    error: ErrorInfo | null,
    usage: TokenUsage,
    endedAt: number,
  ): UsageEvent {
    return {
      ...bookkeeping(this.#work, this.#target.info),
      attempt: this.#number,
      status,
      error,
      usage,
      workerId: this.#ctx.workerId,
      startedAt: this.#startedAt,
      firstTokenAt: this.#firstAt,
      endedAt,
      traceparent: this.#span === null ? this.#traceparent : traceparentOf(this.#span),
      content: this.#work.storePrompts ? keptContent(this.#received, this.#kept) : null,
    }
  }

  #outcome(error: ErrorInfo | null, usage: TokenUsage, endedAt: number): JobOutcome {
    return {
      error,
      ms: elapsed(this.#startedAt, endedAt),
      ttftMs: this.#firstAt === null ? null : elapsed(this.#startedAt, this.#firstAt),
      promptTokens: usage.promptTokens,
      completionTokens: usage.completionTokens,
    }
  }

  /** A tier that the upstream names is dearer or cheaper to us, too: a batch's price is for the rest. */
  #atRate(usage: TokenUsage): TokenUsage {
    const isAtBatch = usage.rate === undefined && isBatchLine(this.#work)
    return isAtBatch ? { ...usage, rate: 'batch' } : usage
  }

  /** Tokens counted by us, for an upstream that reported none. */
  async #count(body: Uint8Array | null): Promise<TokenUsage> {
    if (this.#body === null) return noUsage
    return countUsage({
      operation: this.#work.operation,
      asked: this.#body,
      native: this.#native,
      body,
      isPlain: this.#contentType !== null,
      kept: this.#kept,
      // Beyond what was kept: in proportion to the bytes.
      share: this.#keptBytes === 0 ? 1 : this.#emittedBytes / this.#keptBytes,
    })
  }

  #endSpan(error: ErrorInfo | null, usage: TokenUsage): void {
    const span = this.#span
    if (span === null) return
    span.setAttributes({
      'gen_ai.usage.input_tokens': usage.promptTokens,
      'gen_ai.usage.output_tokens': usage.completionTokens,
    })
    if (this.#firstAt !== null) {
      span.setAttribute(
        'gen_ai.response.time_to_first_chunk',
        elapsed(this.#startedAt, this.#firstAt) / 1000,
      )
    }
    if (error !== null) {
      span.setAttribute('error.type', error.code)
      span.setStatus({ code: SpanStatusCode.ERROR, message: error.code })
    }
    span.end()
  }
}

/** In milliseconds; never negative, though the clock may be set back between two readings. */
function elapsed(from: number, to: number): number {
  return Math.max(0, to - from)
}
