// One pool per deployment: a pull consumer whose `max_ack_pending` is the number of slots, so that
// NATS itself keeps all workers of the deployment together from running more.
import { AckPolicy, type ConsumerMessages, DeliverPolicy } from '@nats-io/jetstream'
import { nanos, type Subscription } from '@nats-io/transport-node'
import { pullOptions } from '@penstock/shared/bus/pull'
import { channels, streams } from '@penstock/shared/contracts/channels'
import type { ResolvedDeployment } from './resolved-deployment.ts'
import { runJob, type WorkerContext } from './run-job.ts'
import { ackWaitMs } from './running-jobs.ts'

export interface Pool {
  readonly target: ResolvedDeployment
  /** Same id, other settings: jobs that begin from now on have them. Rejects when NATS refuses. */
  update(target: ResolvedDeployment): Promise<void>
  /** Takes no more jobs; those that run go on. Resolves when none is on its way here any more. */
  stop(): Promise<void>
}

/** A consumer nobody pulled from for this long is removed; its jobs stay in the stream. */
const inactiveMs = 24 * 60 * 60_000
/** Asked for ahead of time. What bounds the jobs under way is the consumer, not this number. */
const pullAhead = 256
/** How long NATS may take to confirm that it sends nothing more. */
const drainLimitMs = 2_000

export async function startPool(ctx: WorkerContext, first: ResolvedDeployment): Promise<Pool> {
  let target = first
  const name = await ensureConsumer(ctx, target)
  const consumer = await ctx.bus.js.consumers.get(streams.work.name, name)
  const messages = await consumer.consume({
    ...pullOptions,
    max_messages: pullAhead,
    callback: (msg) => void runJob(ctx, target, msg),
  })
  const forgetStore = ctx.bus.onStoreLost(async () => {
    try {
      await ensureConsumer(ctx, target)
    } catch (cause) {
      ctx.log.error({ err: cause, deploymentId: target.info.id }, 'cannot take jobs yet')
      throw cause
    }
  })
  return {
    get target() {
      return target
    },
    async update(changed) {
      if (changed.info.slots !== target.info.slots) await ensureConsumer(ctx, changed)
      target = changed
    },
    stop() {
      forgetStore()
      return drain(messages)
    },
  }
}

/** Creates the deployment's consumer or gives it its present number of slots. @returns its name */
async function ensureConsumer(ctx: WorkerContext, { info }: ResolvedDeployment): Promise<string> {
  const name = `work-${info.id}`
  const changeable = {
    ack_wait: nanos(ackWaitMs),
    max_ack_pending: info.slots,
    inactive_threshold: nanos(inactiveMs),
    filter_subject: channels.work.subject(info.id),
  }
  const { consumers } = ctx.bus.jsm
  const exists = await consumers.info(streams.work.name, name).then(
    () => true,
    () => false,
  )
  if (exists) await consumers.update(streams.work.name, name, changeable)
  else {
    await consumers.add(streams.work.name, {
      ...changeable,
      durable_name: name,
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
    })
  }
  return name
}

/**
 * `close` alone would drop what NATS has sent already, and each of these jobs would come back much
 * later as one that was cut off. Draining the subscription takes them in.
 */
async function drain(messages: ConsumerMessages): Promise<void> {
  // The library's type does not show its subscription.
  const { sub } = messages as ConsumerMessages & { readonly sub: Subscription }
  const limit = Promise.withResolvers<void>()
  const timer = setTimeout(limit.resolve, drainLimitMs)
  await Promise.race([sub.drain().catch(() => undefined), limit.promise])
  clearTimeout(timer)
  await messages.close()
}
