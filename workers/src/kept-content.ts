// Prompt and reply as they are kept with a request's row, where that was asked for: cut to a size that
// leaves the usage event within its bound.
import type { KeptContent } from '@penstock/shared/contracts/usage'

/** Of each of the two, in bytes. Escaped as JSON it can double. */
const maxBytes = 12 * 1024

/**
 * @param request the body as the client sent it: what the deployment adds may be secret
 * @param reply a plain answer, or the events of a stream
 */
export function keptContent(request: Uint8Array, reply: readonly Uint8Array[]): KeptContent {
  const asked = cut([request])
  const answered = cut(reply)
  return {
    request: asked.text,
    reply: answered.text,
    truncated: asked.truncated || answered.truncated,
  }
}

function cut(parts: readonly Uint8Array[]): { text: string; truncated: boolean } {
  const kept: Uint8Array[] = []
  let left = maxBytes
  let truncated = false
  for (const part of parts) {
    if (part.length > left) truncated = true
    if (left > 0) kept.push(part.subarray(0, left))
    left -= Math.min(left, part.length)
  }
  // A character that the cut went through is left out, not shown as a broken one.
  const text = new TextDecoder().decode(Buffer.concat(kept), { stream: truncated })
  return { text, truncated }
}
