import assert from 'node:assert/strict'
import { test } from 'node:test'
import { countSpeechTokens, countTranscript } from './count-audio.ts'

test('a minute of speech is about 900 characters, or 1,250 tokens', () => {
  assert.equal(countSpeechTokens({ input: 'x'.repeat(1_800) }), 2_500)
  assert.equal(countSpeechTokens({}), 0)
})

test('a transcript has its tokens and its time, whatever its form', async () => {
  const spoken = 'hello there'
  const captions = `1\n00:00:00,000 --> 00:00:09,000\n${spoken}\n`
  const expected = { completionTokens: 2, audioMs: 733 }
  const count = (text: string, isPlain: boolean) => countTranscript(Buffer.from(text), isPlain)
  assert.deepEqual(await count(spoken, true), expected)
  assert.deepEqual(await count(captions, true), expected)
  assert.deepEqual(await count(JSON.stringify({ text: spoken }), false), expected)
  assert.deepEqual(await count(JSON.stringify(spoken), false), expected)
  assert.deepEqual(await count('', true), { completionTokens: 0, audioMs: 0 })
})
