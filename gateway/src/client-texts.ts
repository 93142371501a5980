// The texts that a client may put into a request for its own use, cut to what fits the messages that
// carry them: the envelope, and later the usage event.
import type { KnownFields } from './schemas.ts'

/** The longest user, session id or tag, in UTF-16 units; what is longer is cut. */
export const maxTextLength = 256
const maxTags = 32

/** The key's, then those of `metadata.tags` that are texts: the first 32, each once. */
export function tagsWith(keyTags: readonly string[], request: KnownFields): string[] {
  const all = [...keyTags.slice(0, maxTags).map(bounded), ...tagsOf(request)]
  return [...new Set(all)].slice(0, maxTags)
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

/** The OpenAI field `user`. */
export function endUserOf({ user }: KnownFields): string | null {
  return user === null || user === undefined ? null : bounded(user)
}

/** In JSON at most three bytes a unit: what would be written as `\u0000` or `\ud800` is replaced. */
function bounded(text: string): string {
  return text
    .slice(0, maxTextLength)
    .toWellFormed()
    .replace(/\p{Cc}/gu, '\ufffd')
}
