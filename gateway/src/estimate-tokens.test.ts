import assert from 'node:assert/strict'
import { test } from 'node:test'
import { estimateTokens } from './estimate-tokens.ts'

const chat = (content: unknown) => ({ messages: [{ role: 'user', content }] })
const between = (tokens: number, least: number, most: number) =>
  assert.ok(tokens >= least && tokens <= most, `${tokens} tokens`)

test('prose, code, JSON and other scripts are about the tokens that they have', () => {
  const schema = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] }
  // By o200k_base, without the 8 that frame a message.
  const counted: [string, number][] = [
    ['The quick brown fox jumps over the lazy dog. '.repeat(10), 101],
    ['const sum = (a, b) => a + b\n'.repeat(5), 65],
    [JSON.stringify(schema), 19],
    ['今日は天気がいい', 5],
  ]
  for (const [text, tokens] of counted) {
    between(estimateTokens(chat(text)) - 8, tokens * 0.8, tokens * 1.7)
  }
})

test('tools, calls, pictures and files count', () => {
  const plain = estimateTokens(chat('hi'))
  const tools = [{ type: 'function', function: { name: 'f', parameters: {} } }]
  assert.ok(estimateTokens({ ...chat('hi'), tools }) > plain + 300)
  const image = {
    type: 'image_url',
    image_url: { url: `data:image/png;base64,${'A'.repeat(1e6)}` },
  }
  between(estimateTokens(chat([image])), 1_500, 1_700)
  const file = { type: 'file', file: { file_data: 'A'.repeat(67_000) } }
  between(estimateTokens(chat([file])), 1_500, 3_000)
})
