// The texts that a client may put into a request for its own use, cut to what fits the messages that
// carry them: the envelope, and later the usage event.
import type { IncomingMessage } from 'node:http'
import type { KnownFields } from './schemas.ts'

/** The longest user, session id or tag, in UTF-16 units; what is longer is cut. */
export const maxTextLength = 256
const maxTags = 32

/** With the field names of HTTP in lower case, as Node has them. */
type Headers = IncomingMessage['headers']

/**
 * The key's, then those of `metadata.tags` that are texts, then LiteLLM's header: the first 32, each once.
 * (LiteLLM docs: proxy/request_headers)
 */
export function tagsWith(
  keyTags: readonly string[],
  request: KnownFields,
  headers: Headers,
): string[] {
  const listed = headers['x-litellm-tags']
  const all = [...keyTags.slice(0, maxTags).map(bounded), ...tagsOf(request)]
  if (typeof listed === 'string') all.push(...tagsIn(listed))
  return [...new Set(all)].slice(0, maxTags)
}

function tagsIn(list: string): string[] {
  const tags = list.split(',', 2 * maxTags).map((tag) => tag.trim())
  return tags.filter((tag) => tag !== '').map(bounded)
}

function tagsOf({ metadata }: KnownFields): string[] {
  const tags = metadata?.tags
  if (!Array.isArray(tags)) return []
  const texts: string[] = []
  for (const tag of tags) {
    if (texts.length === maxTags) break
    if (typeof tag === 'string') texts.push(bounded(tag))
  }
  return texts
}

export function sessionOf({ metadata }: KnownFields): string | null {
  const session = metadata?.session_id
  return typeof session === 'string' ? bounded(session) : null
}

/** LiteLLM's headers, which it looks at first, or the OpenAI field `user`. */
export function endUserOf({ user }: KnownFields, headers: Headers): string | null {
  const named = headers['x-litellm-customer-id'] ?? headers['x-litellm-end-user-id'] ?? user
  return typeof named === 'string' ? bounded(named) : null
}

/** In JSON at most three bytes a unit: what would be written as `\u0000` or `\ud800` is replaced. */
function bounded(text: string): string {
  return text
    .slice(0, maxTextLength)
    .toWellFormed()
    .replace(/\p{Cc}/gu, '\ufffd')
}
