// Writes the events of a background response to a client, from any of them on, as long as there are more
// to come. A client that leaves stops nothing but this.
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { PenstockError, toErrorInfo } from '@penstock/shared/contracts/errors'
import { finishResponse } from '../finish-response.ts'
import type { Gateway } from '../gateway.ts'
import { followEvents } from './event-log.ts'

export interface Following {
  id: string
  owner: string
  /** The number of the last event that the client has; -1: none. */
  startingAfter: number
}

/** Nothing on the way may take a model that thinks for a dead connection; in milliseconds. */
const keepAliveMs = 15_000

/**
 * @param patienceMs without anything taken for so long the client is let go
 * @throws PenstockError `not_found`: they are not kept (any more); `service_unavailable`
 */
export async function sendEvents(
  { bus, log, background }: Gateway,
  { id, owner, startingAfter }: Following,
  res: ServerResponse,
  patienceMs = 60_000,
): Promise<void> {
  // That is announced once: nobody would end this.
  if (res.closed) return
  const stopping = new AbortController()
  const { signal } = stopping
  const leave = () => stopping.abort()
  res.on('close', leave)
  let last = startingAfter
  const keepAlive = setInterval(() => {
    if (res.headersSent && !res.writableNeedDrain) res.write(': still running\n\n')
    // One that was deleted has no last event.
    const isGone = background.store.get(id, owner).then((found) => found === null)
    void isGone.then((gone) => gone && stopping.abort()).catch(() => undefined)
  }, keepAliveMs)
  try {
    for await (const { text, sequence } of followEvents(bus, id, startingAfter, signal)) {
      if (!res.headersSent) open(res)
      last = sequence
      if (!res.write(text)) await drained(res, signal, patienceMs)
    }
    if (signal.aborted) throw new PenstockError('not_found', 'The response was deleted.')
    // Where the client had all of them already, none was written.
    if (!res.headersSent) open(res)
    finishResponse(res, undefined, patienceMs)
  } catch (cause) {
    if (res.destroyed) return
    if (!res.headersSent) throw cause
    const { code, message, param } = toErrorInfo(cause)
    log.warn({ err: cause, responseId: id }, 'the events of a response broke off')
    const event = { type: 'error', sequence_number: last + 1, code, message, param }
    finishResponse(res, `event: error\ndata: ${JSON.stringify(event)}\n\n`, patienceMs)
  } finally {
    clearInterval(keepAlive)
    res.off('close', leave)
  }
}

/** Nothing else would end the wait for a client that stays and has stopped reading. */
async function drained(res: ServerResponse, signal: AbortSignal, patienceMs: number) {
  const letGo = () => void res.destroy()
  res.once('timeout', letGo).setTimeout(patienceMs)
  try {
    await once(res, 'drain', { signal })
  } finally {
    res.off('timeout', letGo).setTimeout(0)
  }
}

function open(res: ServerResponse): void {
  res.statusCode = 200
  res.setHeader('content-type', 'text/event-stream; charset=utf-8')
  res.setHeader('cache-control', 'no-cache')
  // Tells nginx and its kin not to hold events back.
  res.setHeader('x-accel-buffering', 'no')
  res.flushHeaders()
}
