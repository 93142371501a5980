// The text in Anthropic's own bytes, which nobody on their way parses: for counting tokens where the
// upstream reported none, or was cut off.
import { isFields } from './content.ts'

/** Of each event, or of a whole Message. What does not parse (the last event may be cut) has none. */
export function nativeTexts(chunks: readonly Uint8Array[]): string[] {
  const all = Buffer.concat(chunks).toString('utf8')
  if (all.startsWith('{')) return [wholeText(parse(all))]
  const lines = all.split('\n').filter((line) => line.startsWith('data:'))
  return lines.map((line) => eventText(parse(line.slice(5))))
}

function wholeText(message: unknown): string {
  const content = isFields(message) && Array.isArray(message.content) ? message.content : []
  return content.map(blockText).join('')
}

function eventText(event: unknown): string {
  if (!isFields(event)) return ''
  return event.type === 'content_block_start' ? blockText(event.content_block) : deltaText(event)
}

function deltaText({ delta }: Record<string, unknown>): string {
  if (!isFields(delta)) return ''
  return textsOf(delta.text, delta.thinking, delta.partial_json)
}

function blockText(block: unknown): string {
  if (!isFields(block)) return ''
  const { text, thinking, name, input } = block
  const json = isFields(input) && Object.keys(input).length > 0 ? JSON.stringify(input) : ''
  return textsOf(text, thinking, name, json)
}

function textsOf(...values: unknown[]): string {
  return values.filter((value) => typeof value === 'string').join('')
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return null
  }
}
