// Which background responses run, and which gateway has each: marks in NATS KV that all gateways see, so
// that what a dead one had is taken over, by one of them, and that a cancel finds its way.
import { StorageType } from '@nats-io/jetstream'
import { type KV, Kvm, type KvWatchEntry } from '@nats-io/kv'
import { parseJson } from '@penstock/shared/bus/broadcast'
import type { Bus } from '@penstock/shared/bus/connect'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { Logger } from '@penstock/shared/telemetry/log'
import { z } from 'zod'

const runningMark = z.object({
  /** Empty: the gateway that had it was told to stop. */
  gatewayId: z.string(),
  cancelled: z.boolean(),
})
export type RunningMark = z.infer<typeof runningMark>

export interface RunningResponses {
  /** As far as heard of here. */
  all(): Iterable<[id: string, mark: RunningMark]>
  isCancelled(id: string): boolean
  /** @throws PenstockError `service_unavailable` */
  add(id: string, gatewayId: string): Promise<void>
  /** @returns whether it is this gateway's now: another one may have been faster */
  take(id: string, from: string, to: string): Promise<boolean>
  /** Asks the gateway that has it to cancel it. @returns false: it does not run */
  cancel(id: string): Promise<boolean>
  /** Given up for others to take. */
  release(id: string): Promise<void>
  remove(id: string): Promise<void>
  /** Called with each mark that was made or changed, and with null when one was removed. */
  onChange(listener: (id: string, mark: RunningMark | null) => void): () => void
  close(): void
}

const bucket = 'penstock-response-runs'
/** A mark is a hundred bytes: room for hundreds of thousands. */
const maxBytes = 64 * 1024 * 1024
const keepMs = 24 * 60 * 60_000

export async function watchRunningResponses(bus: Bus, log: Logger): Promise<RunningResponses> {
  const known = new Map<string, RunningMark>()
  const listeners = new Set<(id: string, mark: RunningMark | null) => void>()
  let watch: { stop(): void } | null = null
  let closed = false

  function onEntry({ key, value, operation }: KvWatchEntry): void {
    const mark = operation === 'PUT' ? parseJson(runningMark, value) : null
    if (mark === null) known.delete(key)
    else known.set(key, mark)
    for (const listener of [...listeners]) listener(key, mark)
  }

  async function open(): Promise<KV> {
    watch?.stop()
    known.clear()
    const storage = StorageType.File
    const options = { ttl: keepMs, max_bytes: maxBytes, storage, history: 1 }
    const kv = await new Kvm(bus.js).create(bucket, options)
    const entries = await kv.watch()
    watch = entries
    void (async () => {
      for await (const entry of entries) onEntry(entry)
    })().catch((cause) => {
      if (!closed) log.error({ err: cause }, 'running responses cannot be watched')
    })
    return kv
  }

  let opened = open()
  await opened
  const forgetStore = bus.onStoreLost(() => {
    opened = open()
    opened.catch((cause) => log.error({ err: cause }, 'running responses cannot be watched'))
    return opened
  })

  async function update(
    id: string,
    change: Partial<RunningMark>,
    isWanted: (mark: RunningMark) => boolean = () => true,
  ): Promise<boolean> {
    try {
      const kv = await opened
      const entry = await kv.get(id)
      const mark = entry?.operation === 'PUT' ? parseJson(runningMark, entry.value) : null
      if (entry === null || mark === null || !isWanted(mark)) return false
      await kv.update(id, JSON.stringify({ ...mark, ...change }), entry.revision)
      return true
    } catch {
      // Another gateway was faster, or NATS is away: what is true now the watch will tell.
      return false
    }
  }

  return {
    all: () => known,
    isCancelled: (id) => known.get(id)?.cancelled === true,
    async add(id, gatewayId) {
      try {
        const mark: RunningMark = { gatewayId, cancelled: false }
        await (await opened).create(id, JSON.stringify(mark))
      } catch (cause) {
        const message = 'The response could not be queued. Try again.'
        throw new PenstockError('service_unavailable', message, { cause, retryAfterMs: 1_000 })
      }
    },
    take: (id, from, to) => update(id, { gatewayId: to }, ({ gatewayId }) => gatewayId === from),
    cancel: (id) => update(id, { cancelled: true }),
    async release(id) {
      await update(id, { gatewayId: '' })
    },
    async remove(id) {
      // A mark that stays is taken up by a gateway that finds the response ended, and removed then.
      await opened.then((kv) => kv.purge(id)).catch(() => undefined)
    },
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close() {
      closed = true
      forgetStore()
      watch?.stop()
    },
  }
}
