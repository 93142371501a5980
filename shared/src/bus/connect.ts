// One connection to NATS per service, with the streams made sure of. It reconnects for ever; while
// it is away `connected` is false, which readiness reports.
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type JetStreamClient,
  type JetStreamManager,
  jetstream,
  jetstreamManager,
} from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import type { Logger } from 'pino'
import { type AckPublisher, createAckPublisher } from './ack-publisher.ts'
import { createOutbox, type Outbox } from './outbox.ts'
import { ensureStreams } from './streams.ts'

export interface Bus {
  nc: NatsConnection
  js: JetStreamClient
  jsm: JetStreamManager
  publisher: AckPublisher
  /** For everything that is published often. */
  outbox: Outbox
  readonly connected: boolean
  /** Epoch milliseconds of the last reconnect; null: the first connection still holds. */
  readonly reconnectedAt: number | null
  /** Whether NATS stored the message before a restart, and so may have forgotten what became of it. */
  isFromBeforeReconnect(msg: { readonly timestamp: string }): boolean
  /** Called after every reconnect. */
  onReconnect(listener: () => void): void
  /**
   * Called when NATS came back without its store: the streams are there again, empty, and whoever
   * has consumers or buckets in it makes them anew. One that rejects is called again until it does
   * not: nobody else would. @returns stop
   */
  onStoreLost(listener: StoreLost): () => void
  close(): Promise<void>
}

/** A promise is waited for; whatever else it returns does not count. */
type StoreLost = () => unknown

export interface BusOptions {
  /** `nats://host:port`, several separated by commas; `nats://user:password@…` or `…token@…`. */
  natsUrl: string
  /** Shown in NATS's own monitoring: the service and its id. */
  name: string
  log: Logger
}

/** How long a service waits for NATS when it starts, in milliseconds. */
const firstConnectMs = 30_000
const findPauseMs = 500
/** How far the clocks of NATS and this machine may be apart, in milliseconds. */
const clockSkewMs = 1_000

/** @throws Error naming the server (without credentials) if NATS is not there within 30 s. */
export async function connectBus(options: BusOptions): Promise<Bus> {
  const nc = await connectWithin(options, Date.now() + firstConnectMs)
  const jsm = await jetstreamManager(nc, { timeout: 10_000 })
  let identity = await ensureStreams(jsm)
  const outbox = createOutbox(nc)
  const publisher = createAckPublisher(nc, outbox)
  const listeners: (() => void)[] = []
  const lostListeners = new Set<StoreLost>()
  /** Those whose part of the store is not there again, and who are not at it. */
  const unrestored = new Set<StoreLost>()
  let connected = true
  let reconnectedAt: number | null = null

  async function findStreams(): Promise<void> {
    const since = reconnectedAt
    while (connected && reconnectedAt === since) {
      try {
        const found = await ensureStreams(jsm)
        if (found !== identity) {
          identity = found
          options.log.error('NATS came back without its store: what waited in it is lost')
          for (const listener of lostListeners) unrestored.add(listener)
        }
        for (const listener of [...unrestored]) void restore(listener)
        return
      } catch (cause) {
        // JetStream may need longer than the connection.
        options.log.debug({ err: cause }, 'the store of NATS cannot be used yet')
        await sleep(findPauseMs)
      }
    }
  }

  /** Each by itself: one that takes long is neither called a second time for another that fails, nor waited for. */
  async function restore(listener: StoreLost): Promise<void> {
    while (connected && unrestored.delete(listener)) {
      try {
        await listener()
        return
      } catch (cause) {
        if (lostListeners.has(listener)) unrestored.add(listener)
        options.log.debug({ err: cause }, 'a part of the store cannot be made anew yet')
        await sleep(findPauseMs)
      }
    }
  }

  void (async () => {
    for await (const status of nc.status()) {
      if (status.type === 'disconnect') {
        connected = false
        options.log.warn({ server: status.server }, 'disconnected from NATS, reconnecting')
      } else if (status.type === 'reconnect') {
        connected = true
        reconnectedAt = Date.now()
        publisher.reconnected()
        options.log.info({ server: status.server }, 'reconnected to NATS')
        for (const listener of listeners) listener()
        void findStreams()
      } else if (status.type === 'error') {
        options.log.error({ error: status.error.message }, 'NATS reported an error')
      }
    }
  })()

  return {
    nc,
    js: jetstream(nc, { timeout: 10_000 }),
    jsm,
    publisher,
    outbox,
    get connected() {
      return connected
    },
    get reconnectedAt() {
      return reconnectedAt
    },
    isFromBeforeReconnect({ timestamp }) {
      return reconnectedAt !== null && Date.parse(timestamp) < reconnectedAt + clockSkewMs
    },
    onReconnect(listener) {
      listeners.push(listener)
    },
    onStoreLost(listener) {
      lostListeners.add(listener)
      return () => {
        lostListeners.delete(listener)
        unrestored.delete(listener)
      }
    },
    async close() {
      publisher.close()
      outbox.flush()
      const isThere = connected
      // Whatever still has a timer must not publish any more.
      connected = false
      // Draining waits for what was published to be written; a server that is gone cannot take it.
      if (isThere) await nc.drain()
      else await nc.close()
    },
  }
}

async function connectWithin(options: BusOptions, deadline: number): Promise<NatsConnection> {
  const { servers, ...credentials } = parseServers(options.natsUrl)
  for (;;) {
    try {
      return await connect({
        servers,
        ...credentials,
        name: options.name,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 250,
        reconnectJitter: 100,
        timeout: 5_000,
        pingInterval: 10_000,
        noAsyncTraces: true,
      })
    } catch (cause) {
      if (Date.now() > deadline) {
        throw new Error(`NATS is not reachable at ${servers.join(', ')} (NATS_URL).`, { cause })
      }
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
  }
}

function parseServers(natsUrl: string) {
  const urls = natsUrl.split(',').map((part) => new URL(part.trim()))
  const first = urls[0]
  const user = decodeURIComponent(first?.username ?? '')
  const pass = decodeURIComponent(first?.password ?? '')
  const servers = urls.map((url) => `${url.protocol}//${url.host}`)
  if (user === '') return { servers }
  return pass === '' ? { servers, token: user } : { servers, user, pass }
}
