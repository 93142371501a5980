// Which parts of REQUESTS this router schedules. Each part has one scheduler at a time, by a lease in
// NATS KV; the routers share the parts evenly. A part that changes hands gets a new consumer, so
// that everything unacked in it is delivered again at once, to the new holder.
import {
  AckPolicy,
  type ConsumerMessages,
  DeliverPolicy,
  type JsMsg,
  jetstream,
  StorageType,
} from '@nats-io/jetstream'
import { type KV, Kvm } from '@nats-io/kv'
import { nanos } from '@nats-io/transport-node'
import type { Bus } from '@penstock/shared/bus/connect'
import type { ServicesView } from '@penstock/shared/bus/heartbeat'
import { pullOptions } from '@penstock/shared/bus/pull'
import { errorCode } from '@penstock/shared/bus/streams'
import { channels, requestPartitions, streams } from '@penstock/shared/contracts/channels'
import type { Logger } from '@penstock/shared/telemetry/log'

export interface Partitions {
  readonly held: ReadonlySet<number>
  /** Gives everything back, so that another router can take over at once. */
  close(): Promise<void>
}

export interface PartitionsOptions {
  bus: Bus
  routerId: string
  services: ServicesView
  log: Logger
  onMessage(partition: number, msg: JsMsg): void
  /** What waits from this part is another router's now: forget it, unacked. */
  onLost(partition: number): void
}

interface Held {
  revision: number
  renewedAt: number
  messages: ConsumerMessages
  consumer: string
}

/** A lease that is not renewed for this long is free, in milliseconds. */
const leaseMs = 3_000
const renewMs = 700
/** A renewal that takes longer is tried again: it must not outlast the lease. */
const answerMs = 1_000
/** JetStream's "wrong last sequence": the lease is not what it was when we took it. */
const wrongLastSequence = 10_071
/** Requests that may wait in one part. Beyond them REQUESTS itself holds the rest. */
const maxWaiting = 50_000
/** The lease says who works on a message; redelivery by time is for acks that were lost for good. */
const ackWaitMs = 10 * 60_000

export async function startPartitions(options: PartitionsOptions): Promise<Partitions> {
  const { bus, routerId, services, log } = options
  const held = new Map<number, Held>()
  /** Parts once held come first: their requests are known here, so that taking them is cheap. */
  let preferred: number[] = []
  let leases: KV | null = null
  let closed = false
  let ticking: Promise<void> = Promise.resolve()
  bus.onReconnect(() => {
    // A NATS that was restarted may have lost the bucket.
    leases = null
  })

  async function tick(): Promise<void> {
    const kv = leases ?? (await openLeases(bus))
    leases = kv
    await Promise.all([...held.keys()].map((partition) => renew(kv, partition)))
    const routers = Math.max(1, services.living('router').length)
    const share = Math.ceil(requestPartitions / routers)
    const surplus = [...held.keys()].slice(share)
    for (const partition of surplus) await give(partition)
    for (const partition of new Set([...preferred, ...allPartitions])) {
      if (held.size >= share || closed) break
      if (!held.has(partition)) await acquire(kv, partition)
    }
    preferred = [...new Set([...held.keys(), ...preferred])]
  }

  async function renew(kv: KV, partition: number): Promise<void> {
    const lease = held.get(partition)
    if (lease === undefined) return
    try {
      lease.revision = await kv.update(keyOf(partition), routerId, lease.revision)
      lease.renewedAt = Date.now()
    } catch (cause) {
      // A slow answer is no loss yet; a lease that ran out, or that another one holds, is.
      const isOther = errorCode(cause) === wrongLastSequence
      const own = isOther ? await ownRevision(kv, partition) : null
      lease.revision = own ?? lease.revision
      const isTaken = isOther && own === null
      if (!isTaken && Date.now() - lease.renewedAt < leaseMs) return
      log.warn({ partition, isTaken }, 'lost a part of the request queue')
      lose(partition)
    }
  }

  /** A renewal whose answer was lost has changed the lease all the same. Null: it is not ours. */
  async function ownRevision(kv: KV, partition: number): Promise<number | null> {
    const found = await kv.get(keyOf(partition)).catch(() => null)
    const isOurs = found?.operation === 'PUT' && found.string() === routerId
    return isOurs ? found.revision : null
  }

  async function acquire(kv: KV, partition: number): Promise<void> {
    const revision = await kv.create(keyOf(partition), routerId).catch(() => null)
    if (revision === null) return
    try {
      const consumer = await newConsumer(bus, partition)
      const source = await bus.js.consumers.get(streams.requests.name, consumer)
      const messages = await source.consume({
        ...pullOptions,
        max_messages: 1_000,
        callback: (msg) => {
          if (held.get(partition)?.consumer === consumer) options.onMessage(partition, msg)
        },
      })
      held.set(partition, { revision, renewedAt: Date.now(), messages, consumer })
      log.info({ partition }, 'schedules a part of the request queue')
    } catch (cause) {
      log.warn({ partition, err: cause }, 'could not take a part of the request queue')
      await kv.delete(keyOf(partition)).catch(() => undefined)
    }
  }

  function lose(partition: number): void {
    const lease = held.get(partition)
    if (lease === undefined) return
    held.delete(partition)
    void lease.messages.close()
    options.onLost(partition)
  }

  async function give(partition: number): Promise<void> {
    lose(partition)
    await leases?.delete(keyOf(partition)).catch(() => undefined)
  }

  await tick()
  const timer = setInterval(() => {
    ticking = ticking
      .then(tick)
      .catch((cause) => log.warn({ err: cause }, 'leases: a round failed'))
  }, renewMs)

  return {
    get held() {
      return new Set(held.keys())
    },
    async close() {
      closed = true
      clearInterval(timer)
      await ticking
      await Promise.all([...held.keys()].map(give))
    },
  }
}

const allPartitions = Array.from({ length: requestPartitions }, (_, partition) => partition)

/** On file, so that a restart of NATS does not take the leases from those who live on. */
function openLeases(bus: Bus): Promise<KV> {
  const js = jetstream(bus.nc, { timeout: answerMs })
  return new Kvm(js).create('penstock-leases', {
    ttl: leaseMs,
    storage: StorageType.File,
    history: 1,
  })
}

const keyOf = (partition: number) => `partition.${partition}`

/** A consumer of its own for each term: a former holder cannot pull from it by mistake. */
async function newConsumer(bus: Bus, partition: number): Promise<string> {
  const { consumers } = bus.jsm
  const prefix = `router-${partition}-`
  for await (const { name } of consumers.list(streams.requests.name)) {
    if (name.startsWith(prefix)) await consumers.delete(streams.requests.name, name)
  }
  const name = `${prefix}${Date.now().toString(36)}`
  await consumers.add(streams.requests.name, {
    durable_name: name,
    filter_subject: channels.requests.subject(partition),
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: nanos(ackWaitMs),
    max_ack_pending: maxWaiting,
  })
  return name
}
