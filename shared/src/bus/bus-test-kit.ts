// For unit tests of what speaks to NATS: a bus without a server. It keeps what is published, passes on
// what the test delivers, and breaks and reconnects when told to.
import type { Bus } from './connect.ts'

type Callback = (error: null, msg: { subject: string; data: Uint8Array }) => void

export interface FakeBus {
  bus: Bus
  /** Everything on core NATS, oldest first. */
  published: { subject: string; data: Uint8Array }[]
  /** Everything that was to be stored. */
  stored: { subject: string; data: Uint8Array }[]
  /** What the stream does; by default it takes everything. */
  onStore: () => Promise<void>
  /** What a question is answered with, bytes as they are; by default nobody answers. */
  onRequest: (subject: string, question: unknown, timeoutMs?: number) => Promise<unknown>
  deliver(subject: string, data: Uint8Array | object): void
  disconnect(): void
  reconnect(): void
  /** The parsed messages of a subject. */
  said(subject: string): unknown[]
}

export function createFakeBus(): FakeBus {
  const subscriptions = new Map<Callback, string>()
  const listeners: (() => void)[] = []
  let connected = true
  let reconnectedAt: number | null = null

  const publish = (subject: string, data: Uint8Array | string) => {
    // What is written while the connection is away is discarded when it comes back.
    if (connected) fake.published.push({ subject, data: Buffer.from(data) })
  }
  const bus = {
    nc: {
      publish,
      isClosed: () => false,
      subscribe(subject: string, { callback }: { callback: Callback }) {
        subscriptions.set(callback, subject)
        return { unsubscribe: () => subscriptions.delete(callback) }
      },
      async request(subject: string, payload: string, { timeout }: { timeout: number }) {
        const answer = await fake.onRequest(subject, JSON.parse(payload), timeout)
        return { data: answer instanceof Uint8Array ? answer : Buffer.from(JSON.stringify(answer)) }
      },
    },
    outbox: { publish, later: publish, laterFrom: () => {}, flush: () => {} },
    publisher: {
      async publish(subject: string, data: Uint8Array) {
        await fake.onStore()
        fake.stored.push({ subject, data })
      },
    },
    get connected() {
      return connected
    },
    get reconnectedAt() {
      return reconnectedAt
    },
    onReconnect: (listener: () => void) => listeners.push(listener),
    onStoreLost: () => () => {},
  }
  const fake: FakeBus = {
    bus: bus as unknown as Bus,
    published: [],
    stored: [],
    onStore: () => Promise.resolve(),
    onRequest: () => Promise.reject(new Error('nobody answers')),
    deliver(subject, data) {
      const bytes = data instanceof Uint8Array ? data : Buffer.from(JSON.stringify(data))
      for (const [callback, pattern] of subscriptions) {
        const isMine = pattern.endsWith('.*') && subject.startsWith(pattern.slice(0, -1))
        if (isMine || pattern === subject) callback(null, { subject, data: bytes })
      }
    },
    disconnect() {
      connected = false
    },
    reconnect() {
      connected = true
      reconnectedAt = Date.now()
      for (const listener of listeners) listener()
    },
    said(subject) {
      const all = fake.published.filter((one) => one.subject === subject)
      return all.map(({ data }) => JSON.parse(Buffer.from(data).toString('utf8')))
    },
  }
  return fake
}
