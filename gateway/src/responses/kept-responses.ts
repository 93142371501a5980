// All that is kept of responses in NATS, opened once per gateway.
import type { Bus } from '@penstock/shared/bus/connect'
import type { Logger } from '@penstock/shared/telemetry/log'
import { openResponseStore, type ResponseStore } from './response-store.ts'
import { type RunningResponses, watchRunningResponses } from './running-responses.ts'

export interface KeptResponses {
  store: ResponseStore
  running: RunningResponses
}

export async function openKeptResponses(bus: Bus, log: Logger): Promise<KeptResponses> {
  const store = await openResponseStore(bus)
  return { store, running: await watchRunningResponses(bus, log) }
}
