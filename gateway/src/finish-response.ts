// The last bytes of an answer. What the client does not take stays in memory, and nothing else would ever
// close a connection whose client has stopped reading: Node's own limits end with the answer.
import type { ServerResponse } from 'node:http'

/** Without anything taken for so long the client is let go, in milliseconds. */
const patienceMs = 60_000

export function finishResponse(
  res: ServerResponse,
  last: string | Uint8Array | undefined,
  limitMs = patienceMs,
): void {
  res.end(last)
  if (res.writableLength === 0) return
  res.setTimeout(limitMs, () => res.destroy())
  // Before Node's own listener: an answer that waits behind this one on the connection takes its time.
  res.prependOnceListener('finish', () => res.setTimeout(0))
}
