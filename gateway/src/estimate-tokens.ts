// About how many tokens a chat's prompt has, without a tokenizer and without asking a model: within a
// tenth of o200k_base for the prose and the code of this repository, up to a third less where a text is
// full of hashes. Nothing is billed or refused by it.

/** Longer words are several tokens. */
const lettersPerToken = 9
const tokensPerSign = 0.7
const tokensPerDigit = 0.4
const tokensPerAccent = 0.5
/** Of a character in another than a Latin script. */
const tokensPerWide = 0.8
const lastLatin = 0x24f
/** Role markers and separators around each message; the reply's opening is another one. */
const tokensPerMessage = 4
/** What a chat template or a provider says about tools besides their definitions. */
const toolsTokens = 300
/** A picture of 1,092 x 1,092, the largest that Anthropic does not scale down: 1,590 (its docs: vision). */
const imageTokens = 1_590
/** A page of a PDF is 1,500 to 3,000 tokens (its docs: pdf-support) and about 50 kB. */
const fileCharactersPerToken = 40

interface Chat {
  messages: readonly Record<string, unknown>[]
  tools?: readonly unknown[] | null | undefined
}

export function estimateTokens({ messages, tools }: Chat): number {
  let tokens = tokensPerMessage
  for (const { content, tool_calls: calls } of messages) {
    tokens += tokensPerMessage + contentTokens(content)
    if (Array.isArray(calls)) for (const call of calls) tokens += textTokens(JSON.stringify(call))
  }
  if (tools?.length) tokens += toolsTokens + textTokens(JSON.stringify(tools))
  return Math.ceil(tokens)
}

function contentTokens(content: unknown): number {
  if (typeof content === 'string') return textTokens(content)
  if (!Array.isArray(content)) return 0
  return content.reduce((sum: number, part) => sum + partTokens(part), 0)
}

function partTokens(part: Record<string, unknown>): number {
  if (typeof part.text === 'string') return textTokens(part.text)
  if (part.type === 'image_url' || part.type === 'image') return imageTokens
  const json = JSON.stringify(part)
  return part.type === 'file' ? json.length / fileCharactersPerToken : textTokens(json)
}

function textTokens(text: string): number {
  let tokens = 0
  let letters = 0
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i)
    if (isLetter(code)) {
      if (letters % lettersPerToken === 0) tokens += 1
      letters += 1
      if (code > 0x7f) tokens += tokensPerAccent
      continue
    }
    letters = 0
    if (code > lastLatin) tokens += tokensPerWide
    else if (code >= 0x30 && code <= 0x39) tokens += tokensPerDigit
    // A space belongs to the word behind it.
    else if (code !== 0x20) tokens += tokensPerSign
  }
  return tokens
}

/** Of the Latin script. */
function isLetter(code: number): boolean {
  if (code > 0x7f) return code >= 0xc0 && code <= lastLatin
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a)
}
