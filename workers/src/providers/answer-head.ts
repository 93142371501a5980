// What stands at the head of an answer in OpenAI's form, for upstreams that send none of it.

/** An id in OpenAI's manner, of the answer or of a tool call. */
export function newId(prefix: 'chatcmpl-' | 'cmpl-' | 'call_'): string {
  return prefix + crypto.randomUUID().replaceAll('-', '')
}

/** Now, in OpenAI's unit: seconds. */
export function createdNow(): number {
  return Math.floor(Date.now() / 1000)
}
