// One background response on its way: asks for it, keeps every event, and asks again where the worker was
// lost in the middle (what was told stays told, see the dialect's rejoin.ts). It ends in its record.
import { setTimeout as sleep } from 'node:timers/promises'
import type { FrameEnd } from '@penstock/shared/bus/frame-codec'
import {
  type ErrorCode,
  type ErrorInfo,
  type PenstockError,
  toErrorInfo,
} from '@penstock/shared/contracts/errors'
import type { Fields } from '@penstock/shared/dialects/dialect'
import {
  type Ending,
  eventText,
  type NumberedEvent,
  ResponseWriter,
} from '@penstock/shared/dialects/responses/writer'
import { timeOrderedId } from '@penstock/shared/ids'
import type { Admitted, Outcome } from '../admission/admission.ts'
import type { AnswerSink } from '../answer.ts'
import type { Gateway } from '../gateway.ts'
import { admitJob } from './admit-job.ts'
import type { BackgroundJob } from './background-job.ts'
import { createEventWriter, type EventWriter } from './event-log.ts'
import type { KeptResponses } from './kept-responses.ts'
import { startSpan } from './span.ts'

/** Answers that broke off are asked for anew; nothing of them was the client's doing. */
const worthAnother: readonly ErrorCode[] = ['interrupted', 'upstream_cut_off']
const maxStarts = 3
/** How often a record is offered to a NATS that does not answer, and the pause between, in ms. */
const maxSaves = 10
const savePauseMs = 2_000
/** How long a gateway that stops waits for an end to be stored, in milliseconds. */
const endPatienceMs = 3_000

export interface RunOptions {
  gateway: Gateway
  kept: KeptResponses
  job: BackgroundJob
  /** The stream's sequence of the last event written so far. */
  after: number
  /** Called once: it has ended here, or another gateway has it now. */
  onOver(): void
}

export class BackgroundRun {
  readonly writer: ResponseWriter
  readonly #options: RunOptions
  readonly #events: EventWriter
  readonly #body: Uint8Array
  #starts = 0
  #over = false
  #ending: Promise<void> = Promise.resolve()
  #inProgress: Promise<void> | null = null
  #withdraw = () => {}
  #settle: (outcome: Outcome) => void = () => {}

  constructor(options: RunOptions) {
    const { gateway, job, after } = options
    this.#options = options
    this.#events = createEventWriter(gateway.bus, job.id, after)
    this.#body = Buffer.from(JSON.stringify(job.body))
    this.writer = new ResponseWriter(job, (event) => this.#events.add(eventText(event)))
  }

  /** Resolves when what was written so far is stored. @throws PenstockError */
  flush(): Promise<void> {
    return this.#events.flush()
  }

  /** Asks for it, or asks again. */
  async start(): Promise<void> {
    const requestId = timeOrderedId()
    try {
      const { gateway, job } = this.#options
      this.send(requestId, await admitJob(gateway, job, requestId))
    } catch (cause) {
      if (!this.#over) await this.#end(this.writer.fail(toErrorInfo(cause)))
    }
  }

  send(requestId: string, admitted: Admitted): void {
    if (this.#over) {
      admitted.settled({ kind: 'unsent' })
      return
    }
    const { gateway, job } = this.#options
    const { correlationId, group, operation } = job.envelope
    const receivedAt = Date.now()
    const span = startSpan(gateway, job, requestId)
    let settled = false
    this.#settle = (outcome) => {
      if (settled) return
      settled = true
      admitted.settled(outcome)
      const code = outcome.kind === 'failed' ? outcome.error.code : null
      const left = outcome.kind === 'left' ? 'client_closed_request' : 'ok'
      const ms = Date.now() - receivedAt
      gateway.metrics.answered({ operation, group, outcome: code ?? left }, ms / 1000)
      const line = { requestId, correlationId, responseId: job.id, group, operation, ms }
      gateway.log.info({ ...line, outcome: code ?? left }, 'background request ended')
      span.end(code)
    }
    this.#starts++
    this.#withdraw = gateway.dispatcher.send(
      {
        ...job.envelope,
        id: requestId,
        receivedAt,
        allowedGroups: admitted.allowedGroups,
        answerLimit: admitted.answerLimit,
        timeoutMs: gateway.config.requestTimeoutMs,
      },
      this.#body,
      this.#sink(),
      span.traceparent,
    )
  }

  /** Of a client that wants it ended. */
  async cancel(): Promise<void> {
    if (this.#over) return
    this.#stop({ kind: 'left' })
    await this.#end(this.writer.cancel())
  }

  /** Leaves it as it is, for another gateway. Resolves when what was told, or its end, is stored. */
  async detach(): Promise<void> {
    if (this.#over) {
      await Promise.race([this.#ending, sleep(endPatienceMs, undefined, { ref: false })])
      return
    }
    this.#over = true
    this.#stop({ kind: 'left' })
    await this.#events.flush().catch(() => undefined)
    this.#options.onOver()
  }

  #sink(): AnswerSink {
    return {
      onQueued() {},
      onData: (_head, data) => this.#guard(() => this.#take(data)),
      onEnd: (_head, data, end) => this.#guard(() => this.#complete(data, end)),
      onError: (error) => this.#guard(() => this.#broke(error)),
    }
  }

  /** Whatever cannot be translated ends the response; there is nobody who would meet the error. */
  #guard(handle: () => void): void {
    if (this.#over) return
    try {
      handle()
      if (this.#events.failed !== null) this.#lost(this.#events.failed)
    } catch (cause) {
      this.#stop({ kind: 'failed', error: toErrorInfo(cause) })
      void this.#end(this.writer.fail(toErrorInfo(cause)))
    }
  }

  #take(data: Uint8Array): void {
    this.#inProgress ??= this.#showInProgress()
    this.writer.push(data)
  }

  async #showInProgress(): Promise<void> {
    const { kept, job } = this.#options
    const response = this.writer.snapshot({ status: 'in_progress', output: [] })
    const record = { owner: job.owner, response, input: job.input }
    // Its end is stored in any case.
    await kept.store.put(job.id, 'record', record).catch(() => undefined)
  }

  #complete(data: Uint8Array, end: FrameEnd): void {
    this.#settle({ kind: 'answered', end })
    if (data.length > 0) this.writer.push(data)
    void this.#end(this.writer.end(end.usage))
  }

  #broke(error: ErrorInfo): void {
    this.#settle({ kind: 'failed', error })
    if (worthAnother.includes(error.code) && this.#starts < maxStarts) {
      this.writer.restart()
      void this.start()
    } else void this.#end(this.writer.fail(error))
  }

  /** Its events cannot be kept, or another gateway writes them now. */
  #lost(error: PenstockError): void {
    this.#stop({ kind: 'failed', error: error.info })
    if (error.code === 'conflict') {
      this.#over = true
      this.#options.onOver()
    } else void this.#end(this.writer.fail(error.info))
  }

  #stop(outcome: Outcome): void {
    this.#withdraw()
    this.#settle(outcome)
  }

  /** The record first: who has read the last event finds the response ended. */
  #end(ending: Ending): Promise<void> {
    if (!this.#over) {
      this.#over = true
      this.#ending = this.#store(ending)
    }
    return this.#ending
  }

  async #store({ response, last }: Ending): Promise<void> {
    const { kept, job, gateway, onOver } = this.#options
    await this.#inProgress
    let stored = false
    for (let saves = 1; saves <= maxSaves && !gateway.bus.nc.isClosed(); saves++) {
      try {
        await this.#save(response, last)
        stored = true
        break
      } catch (cause) {
        const { code } = toErrorInfo(cause)
        if (code === 'conflict') break
        const { correlationId } = job.envelope
        const line = { err: cause, correlationId, responseId: job.id }
        gateway.log.error(line, 'an ended response could not be stored')
        if (saves < maxSaves) await sleep(savePauseMs)
      }
    }
    // Else the mark is another gateway's by now, or somebody has to take the response up by it.
    if (stored) await kept.running.remove(job.id)
    onOver()
  }

  async #save(response: Fields, last: NumberedEvent): Promise<void> {
    const { kept, job } = this.#options
    // Events that could not be kept do not keep the response from ending.
    if (this.#events.failed?.code !== 'service_unavailable') await this.#events.flush()
    await kept.store.put(job.id, 'record', { owner: job.owner, response, input: job.input })
    await this.tell(last)
    await kept.store.removeJob(job.id)
  }

  /** The last event. */
  async tell(last: NumberedEvent): Promise<void> {
    if (this.#events.failed !== null) return
    this.#events.add(eventText(last))
    await this.#events.flush()
  }
}
