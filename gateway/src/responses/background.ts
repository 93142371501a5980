// The background responses that this gateway has: those it accepted, and those of gateways that died or
// were stopped, each of which is taken over by one of the others.
import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import type { Fields } from '@penstock/shared/dialects/dialect'
import { timeOrderedId } from '@penstock/shared/ids'
import type { Gateway } from '../gateway.ts'
import { admitJob } from './admit-job.ts'
import { type BackgroundJob, backgroundJob } from './background-job.ts'
import { BackgroundRun } from './background-run.ts'
import { storedEvents } from './event-log.ts'
import type { KeptResponses } from './kept-responses.ts'

export interface Background extends KeptResponses {
  /**
   * Keeps the job, then begins.
   * @returns the response as it waits
   * @throws PenstockError as admission does; `queue_full`; `service_unavailable` where it cannot be kept
   */
  begin(job: BackgroundJob): Promise<Fields>
  /** Resolves when it is cancelled, wherever it runs, or after some seconds in which it was not. */
  cancel(id: string): Promise<void>
  /** Leaves all of them to others, or to the next start. */
  close(): Promise<void>
}

const maxRuns = 10_000
const sweepMs = 1_000
/** A dead gateway's responses are taken over by all that are left, a few at a time. */
const maxTakenAtOnce = 20
const cancelPatienceMs = 5_000
const ended = new Set(['completed', 'incomplete', 'failed', 'cancelled'])

/** @param gateway asked late: it is made of this */
export function createBackground(
  kept: KeptResponses,
  gatewayId: string,
  gateway: () => Gateway,
): Background {
  const { store, running } = kept
  const runs = new Map<string, BackgroundRun>()
  const taking = new Set<string>()
  let closing: Promise<void> | null = null

  function runOf(job: BackgroundJob, after: number): BackgroundRun {
    const onOver = () => runs.delete(job.id)
    return new BackgroundRun({ gateway: gateway(), kept, job, after, onOver })
  }

  async function takeOver(id: string): Promise<void> {
    const { bus, log } = gateway()
    const found = backgroundJob.safeParse(await store.job(id))
    const record = found.success ? await store.get(id, found.data.owner) : null
    if (!found.success || record === null) {
      await running.remove(id)
      return
    }
    const job = found.data
    const { events, after } = await storedEvents(bus, id)
    const run = runOf(job, after)
    run.writer.resume(events)
    log.warn({ responseId: id, correlationId: job.envelope.correlationId }, 'took over a response')
    const { response } = record
    if (ended.has(response.status)) {
      // Its record was stored, but perhaps its last event was not.
      const type = `response.${response.status === 'cancelled' ? 'incomplete' : response.status}`
      const last = { type, sequence_number: run.writer.next, response }
      if (events.at(-1)?.type !== type) await run.tell(last)
      await store.removeJob(id)
      await running.remove(id)
      return
    }
    runs.set(id, run)
    if (running.isCancelled(id)) await run.cancel()
    else await run.start()
  }

  const sweep = setInterval(() => {
    for (const [id, mark] of running.all()) {
      if (closing !== null || taking.size >= maxTakenAtOnce) return
      if (runs.has(id) || taking.has(id)) continue
      const isFree = mark.gatewayId === '' || gateway().services.isLost('gateway', mark.gatewayId)
      if (!isFree) continue
      taking.add(id)
      const take = async () => {
        if (await running.take(id, mark.gatewayId, gatewayId)) await takeOver(id)
      }
      take()
        .catch((cause) => {
          gateway().log.error({ err: cause, responseId: id }, 'a response could not be taken over')
          return running.release(id)
        })
        .finally(() => taking.delete(id))
    }
  }, sweepMs)

  const forgetMarks = running.onChange((id, mark) => {
    if (mark?.cancelled) void runs.get(id)?.cancel()
  })

  async function closeAll(): Promise<void> {
    clearInterval(sweep)
    forgetMarks()
    const left = [...runs]
    await Promise.all(left.map(([, run]) => run.detach()))
    await Promise.all(left.map(([id]) => running.release(id)))
    running.close()
  }

  return {
    store,
    running,
    async begin(job) {
      if (runs.size >= maxRuns || closing !== null) {
        const message = 'Too many background responses are running here. Try again later.'
        throw new PenstockError('queue_full', message, { retryAfterMs: 5_000 })
      }
      const { id } = job
      const run = runOf(job, 0)
      const requestId = timeOrderedId()
      const admitted = await admitJob(gateway(), job, requestId)
      try {
        const response = run.writer.queued()
        const record = { owner: job.owner, response, input: job.input }
        await Promise.all([store.put(id, 'record', record), store.put(id, 'job', job)])
        await run.flush()
        runs.set(id, run)
        await running.add(id, gatewayId)
        run.send(requestId, admitted)
        return response
      } catch (cause) {
        runs.delete(id)
        admitted.settled({ kind: 'unsent' })
        // A repeat with the same Idempotency-Key would be told of a response that nobody makes. Another
        // gateway's, which began it at the same time, stays.
        if (toErrorInfo(cause).code !== 'conflict') await store.remove(id).catch(() => undefined)
        throw cause
      }
    },
    async cancel(id) {
      const gone = Promise.withResolvers<void>()
      const forget = running.onChange((changed, mark) => {
        if (changed === id && mark === null) gone.resolve()
      })
      const patience = setTimeout(gone.resolve, cancelPatienceMs)
      try {
        if (await running.cancel(id)) await gone.promise
      } finally {
        clearTimeout(patience)
        forget()
      }
    },
    close() {
      closing ??= closeAll()
      return closing
    },
  }
}
