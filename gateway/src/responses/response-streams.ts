// The two streams of JetStream in which responses are kept: what became of each one, for 30 days as at
// OpenAI, and the events of those that ran in the background, for a day. Full streams let the oldest go:
// nobody may keep others from being stored.
import { DiscardPolicy, RetentionPolicy, StorageType } from '@nats-io/jetstream'
import { nanos } from '@nats-io/transport-node'
import type { Bus } from '@penstock/shared/bus/connect'
import { errorCode } from '@penstock/shared/bus/streams'

const MiB = 1024 * 1024
const hourMs = 60 * 60_000

interface KeptStream {
  name: string
  root: string
  maxBytes: number
  maxAgeMs: number
  /** Older messages of the same subject go at once. -1: they stay. */
  perSubject: number
}

export const records: KeptStream = {
  name: 'PENSTOCK_RESPONSES',
  root: 'penstock.responses',
  maxBytes: 1024 * MiB,
  maxAgeMs: 30 * 24 * hourMs,
  perSubject: 1,
}
export const events: KeptStream = {
  name: 'PENSTOCK_RESPONSE_EVENTS',
  root: 'penstock.response-events',
  maxBytes: 512 * MiB,
  maxAgeMs: 24 * hourMs,
  perSubject: -1,
}

/** JetStream's "stream name already in use with a different configuration". */
const streamNameInUse = 10_058

/** Makes them, or finds them; again whenever NATS came back without its store. */
export async function ensureResponseStreams(bus: Bus): Promise<void> {
  const ensure = () => Promise.all([records, events].map((spec) => ensureStream(bus, spec)))
  await ensure()
  // Until it succeeds whoever needs them meets the error.
  bus.onStoreLost(ensure)
}

async function ensureStream(bus: Bus, spec: KeptStream): Promise<void> {
  const { name, root, maxBytes, maxAgeMs, perSubject } = spec
  const changeable = {
    subjects: [`${root}.>`],
    discard: DiscardPolicy.Old,
    max_bytes: maxBytes,
    max_age: nanos(maxAgeMs),
    max_msgs_per_subject: perSubject,
    allow_direct: true,
  }
  const fixed = { retention: RetentionPolicy.Limits, storage: StorageType.File }
  try {
    await bus.jsm.streams.add({ name, ...fixed, ...changeable })
  } catch (error) {
    if (errorCode(error) !== streamNameInUse) throw error
    await bus.jsm.streams.update(name, changeable)
  }
}
