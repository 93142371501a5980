// The text of an Ollama server's own replies, for a count of tokens where it reported none. Not on the
// path of a token.
import { z } from 'zod'

const text = z.string().nullish().catch(null)
const line = z.object({
  response: text,
  thinking: text,
  message: z
    .object({
      content: text,
      thinking: text,
      tool_calls: z.array(z.unknown()).nullish().catch(null),
    })
    .nullish()
    .catch(null),
})

/** Of each line; one that does not parse, as the last one of a stream that was cut off, has none. */
export function nativeTexts(chunks: readonly Uint8Array[]): string[] {
  const lines = Buffer.concat(chunks).toString('utf8').split('\n')
  return lines.map(textOf).filter((one) => one !== '')
}

function textOf(json: string): string {
  try {
    const { response, thinking, message } = line.parse(JSON.parse(json))
    const calls = message?.tool_calls?.length ? JSON.stringify(message.tool_calls) : ''
    const pieces = [thinking, message?.thinking, response, message?.content, calls]
    return pieces.map((piece) => piece ?? '').join('')
  } catch {
    return ''
  }
}
