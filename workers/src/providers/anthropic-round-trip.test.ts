// Anthropic's form into the canonical one and back: what a client of the Messages API asks and is told
// means the same on both sides of the translation, however the bytes are cut.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { noUsage } from '@penstock/shared/contracts/usage'
import type { Fields } from '@penstock/shared/dialects/dialect'
import { messages as dialect } from '@penstock/shared/dialects/messages/messages'
import { below, cutAnywhere, type Random, seeded } from '@penstock/shared/fixtures/seeded'
import { completionOf } from './anthropic-reply.ts'
import { anthropicBody } from './anthropic-request.ts'
import { translateAnthropic } from './anthropic-stream.ts'
import { fixture, inPieces, testCall } from './provider-test-kit.ts'

const model = 'claude-sonnet-4-5'
const thinking = { type: 'enabled', budget_tokens: 1_024 }
const file = (name: string) => fixture(`../anthropic/${name}`)
const times = { head: null, startedAt: 1, endedAt: 2 }

type Event = Fields & { type: string; index?: number; delta?: Fields; content_block?: Fields }
type Block = Fields & { type: string }

/** A message as a client puts it together from its events; fails where they are out of order. */
function assembled(bytes: Uint8Array) {
  const content: Fields[] = []
  let open: number | null = null
  let end: Fields = {}
  for (const { type, index = -1, delta = {}, content_block: block = {} } of eventsOf(bytes)) {
    if (type === 'content_block_start') {
      assert.equal(open, null)
      assert.equal(index, content.length)
      open = index
      content.push({ signature: '', ...block, ...(block.type === 'tool_use' ? { json: '' } : {}) })
    }
    if (type === 'content_block_delta') {
      assert.equal(index, open)
      const target = content[index] ?? {}
      for (const name of ['text', 'thinking', 'signature']) {
        if (name in delta) target[name] = `${target[name]}${delta[name]}`
      }
      if ('partial_json' in delta) target.json = `${target.json}${delta.partial_json}`
    }
    if (type === 'content_block_stop') open = null
    if (type === 'message_delta') end = { ...end, ...delta }
  }
  assert.equal(open, null)
  return { content, stopReason: end.stop_reason }
}

function eventsOf(bytes: Uint8Array): Event[] {
  return Buffer.from(bytes)
    .toString()
    .split('\n')
    .filter((line) => line.startsWith('data:'))
    .map((line) => JSON.parse(line.slice(5)))
}

/** Through the worker's translation and the gateway's. */
async function translatedTwice(bytes: Uint8Array, random: Random): Promise<Uint8Array> {
  const canonical: Uint8Array[] = []
  const emit = (events: Uint8Array) => void canonical.push(events)
  const call = testCall({}, { stream: true, model, emit })
  const usage = (await translateAnthropic(call, inPieces(bytes, 1 + below(random, 80)))) ?? noUsage
  const stream = dialect.stream({ model, thinking })
  const cut = cutAnywhere(random, Buffer.concat(canonical), 1 + below(random, 40))
  const out = cut.map((piece) => stream.push(piece) ?? Buffer.alloc(0))
  return Buffer.concat([...out, stream.end({ ...times, usage })])
}

describe("Anthropic's documented answers", () => {
  for (const name of ['stream.sse', 'stream-tools.sse', 'stream-thinking.sse']) {
    test(`${name} says the same after both translations, wherever it is cut`, async () => {
      const original = file(name)
      for (let seed = 1; seed <= 20; seed += 1) {
        const bytes = await translatedTwice(original, seeded(seed))
        assert.deepEqual(assembled(bytes), assembled(original), `seed ${seed}`)
      }
      const types = eventsOf(await translatedTwice(original, seeded(1))).map(({ type }) => type)
      assert.deepEqual(types.slice(0, 3), ['message_start', 'ping', 'content_block_start'])
      assert.deepEqual(types.slice(-2), ['message_delta', 'message_stop'])
    })
  }

  for (const name of ['reply.json', 'reply-tools.json']) {
    test(`${name} is the same message after both translations`, () => {
      const original = JSON.parse(file(name).toString())
      const { body, usage } = completionOf(original, original.model)
      const message = dialect.answer(body, { model }, { ...times, usage: usage ?? noUsage })
      const { id, content, stop_reason: stop } = original
      const said = content.map(({ citations: _none, ...block }: Fields) => block)
      assert.partialDeepStrictEqual(message, { id, role: 'assistant', type: 'message' })
      assert.deepEqual([message.content, message.stop_reason], [said, stop])
      if (usage === null) return
      const { input_tokens: input, output_tokens: output } = original.usage
      assert.partialDeepStrictEqual(message.usage, { output_tokens: output, input_tokens: input })
    })
  }
})

test('random requests ask the same of Anthropic after both translations', () => {
  for (let seed = 1; seed <= 300; seed += 1) {
    const request = randomRequest(seeded(seed))
    const { body } = dialect.toCanonical(JSON.parse(JSON.stringify(request)))
    const again = anthropicBody(testCall(body, { model }))
    assert.deepEqual(meaningOf(again), meaningOf(request), `seed ${seed}`)
  }
})

/** Without what a translation may change: the form of a text, and where a result's pictures stand. */
function meaningOf(request: Fields) {
  const { system = [], messages, tools = [], stream: _stream, ...rest } = request
  const turns = (messages as { role: string; content: string | Block[] }[]).map((turn) => ({
    role: turn.role,
    content: resultsFirst(blocksOf(turn.content)),
  }))
  return { ...rest, system: blocksOf(system as string | Block[]), messages: turns, tools }
}

function blocksOf(content: string | Block[]): Block[] {
  return typeof content === 'string' ? [{ type: 'text', text: content }] : content
}

function resultsFirst(blocks: Block[]): Block[] {
  const results = blocks.filter(({ type }) => type === 'tool_result')
  const shown = results.flatMap(({ content }) =>
    blocksOf(content as string | Block[]).filter(({ type }) => type !== 'text'),
  )
  const said = results.map((result) => {
    const texts = blocksOf(result.content as string | Block[]).filter(({ text }) => text)
    return { ...result, content: texts.map(({ text }) => text).join('\n') }
  })
  return [...said, ...shown, ...blocks.filter(({ type }) => type !== 'tool_result')]
}

function randomRequest(random: Random): Fields {
  const often = () => random() < 0.6
  const word = () => ['alpha', 'béta', '漢字', 'line\nbreak', '{"a":1}'][below(random, 5)] ?? ''
  const cache = () => (random() < 0.2 ? { cache_control: { type: 'ephemeral' } } : {})
  const text = (): Block => ({ type: 'text', text: `${word()} ${below(random, 100)}`, ...cache() })
  const many = <T>(make: () => T, least: number, most: number) =>
    Array.from({ length: least + below(random, most - least + 1) }, make)
  const image = (): Block => {
    const base64 = { type: 'base64', media_type: 'image/png', data: 'iVBORw0KGgo=' }
    const url = { type: 'url', url: 'https://example.com/a.png' }
    return { type: 'image', source: random() < 0.5 ? base64 : url, ...cache() }
  }
  const pdf = (): Block => {
    const source = { type: 'base64', media_type: 'application/pdf', data: 'JVBERi0=' }
    return { type: 'document', source, title: word(), ...cache() }
  }
  const shown = () => [text, image, pdf][below(random, 3)]?.() ?? text()
  const tools = many(
    () => ({
      name: `tool_${below(random, 1_000)}`,
      description: word(),
      input_schema: { type: 'object', properties: { city: { type: 'string' } }, required: [] },
      ...cache(),
    }),
    1,
    3,
  )
  const messages: Fields[] = []
  for (let turn = below(random, 3); turn > 0; turn -= 1) {
    const calls = often()
      ? many(() => ({ id: `toolu_${below(random, 1e9)}`, name: tools[0]?.name }), 1, 3)
      : []
    const thought = { type: 'thinking', thinking: word(), signature: 'c2lnbmF0dXJl' }
    const uses = calls.map((call) => ({ type: 'tool_use', ...call, input: { city: word() } }))
    const results = calls.map(({ id }) => ({
      type: 'tool_result',
      tool_use_id: id,
      content: often() ? [{ type: 'text', text: word() }, ...many(image, 0, 1)] : word(),
      ...cache(),
    }))
    messages.push(
      { role: 'user', content: often() ? many(shown, 1, 3) : word() },
      { role: 'assistant', content: [...(often() ? [thought] : []), text(), ...uses] },
    )
    messages.push({ role: 'user', content: [...results, ...many(text, 1, 2)] })
    messages.push({ role: 'assistant', content: [text()] })
  }
  messages.push({ role: 'user', content: many(shown, 1, 3) })
  const choice = [{ type: 'auto' }, { type: 'any', disable_parallel_tool_use: true }]
  const one = { type: 'tool', name: tools[0]?.name }
  return {
    model,
    max_tokens: 1 + below(random, 5_000),
    messages,
    ...(often() ? { system: often() ? many(text, 1, 3) : word() } : {}),
    tools,
    ...(often() ? { tool_choice: [...choice, one, { type: 'none' }][below(random, 4)] } : {}),
    ...(often() ? { stop_sequences: ['END', 'STOP'] } : {}),
    ...(often() ? { temperature: 0.5, top_k: 4 } : {}),
    ...(often() ? { metadata: { user_id: 'user_1' } } : {}),
    stream: often(),
  }
}
