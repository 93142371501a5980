import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { noUsage } from '@penstock/shared/contracts/usage'
import { ollamaChat } from '@penstock/shared/dialects/ollama/chat'
import { chatCall } from './ollama-chat.ts'
import { nativeRequest, passStream } from './ollama-native.ts'
import { translateStream } from './ollama-stream.ts'
import { usageOf } from './ollama-usage.ts'
import { failsWith, fixture, inPieces, testCall } from './provider-test-kit.ts'

const chat = { dialect: 'ollama-chat', headers: {} } as const
const embed = { dialect: 'ollama-embed', headers: {} } as const

describe('a request', () => {
  test("goes through with the upstream's model, and the deployment's defaults behind its own", () => {
    const body = {
      model: 'smart',
      messages: [{ role: 'user', content: 'Why?' }],
      options: { num_ctx: 8192, mirostat: 1 },
      keep_alive: '1h',
      anything: ['else'],
    }
    const defaults = { temperature: 0.2, options: { num_ctx: 4096, num_gpu: 1 }, keep_alive: -1 }
    const call = testCall(body, { stream: true, deployment: { defaults } })
    assert.deepEqual(nativeRequest(call, chat), {
      path: '/api/chat',
      request: {
        ...body,
        model: 'llama3.2',
        options: { temperature: 0.2, num_ctx: 8192, num_gpu: 1, mirostat: 1 },
        stream: true,
      },
    })
  })

  test('for embeddings goes where its form belongs, and says nothing of a stream', () => {
    const request = (body: object) => nativeRequest(testCall({ model: 'smart', ...body }), embed)
    assert.deepEqual(request({ input: 'a' }), {
      path: '/api/embed',
      request: { model: 'llama3.2', input: 'a' },
    })
    assert.equal(request({ prompt: 'a' }).path, '/api/embeddings')
  })
})

describe('a stream', () => {
  const passed = async (body: AsyncIterable<Uint8Array>) => {
    const emitted: Uint8Array[] = []
    const last = passStream(body, 'llama3.2', (lines) => emitted.push(lines))
    await last.catch(() => undefined)
    return { last, bytes: Buffer.concat(emitted) }
  }

  test('ends with its last line, whatever spaces are in it', async () => {
    const text = '{"message": {"content": "a"}, "done": false}\n{"done": true, "eval_count": 2}\n'
    for (const size of [1, 7, 300]) {
      const { last, bytes } = await passed(inPieces(Buffer.from(text), size))
      assert.equal((await last).eval_count, 2)
      assert.equal(bytes.toString(), text)
    }
  })

  test('is over with its last line, though its body does not end', async () => {
    async function* endless() {
      yield Buffer.from('{"message":{"content":"a"},"done":true,"eval_count":2}\n')
      await sleep(3_000, undefined, { ref: false })
    }
    const ends = [
      passed(endless()).then(({ last }) => last),
      translateStream(
        endless(),
        'llama3.2',
        () => '',
        () => {},
      ),
    ]
    const first = await Promise.race([Promise.all(ends), sleep(1_000, null, { ref: false })])
    assert.deepEqual(
      first?.map(({ eval_count }) => eval_count),
      [2, 2],
    )
  })

  test('goes through byte for byte in whole lines, wherever it is cut', async () => {
    const bytes = fixture('chat-stream.ndjson')
    for (const size of [1, 7, 64, 300, bytes.length]) {
      const { last, bytes: through } = await passed(inPieces(bytes, size))
      assert.ok(through.equals(bytes), `cut every ${size} bytes`)
      assert.notEqual(usageOf(await last), null)
    }
  })

  const line = (content: string, more = '"done":false') =>
    `{"model":"m","message":{"role":"assistant","content":${JSON.stringify(content)}},${more}}\n`

  test('ends at the line that says so itself, not where a text or an argument does', async () => {
    const call =
      '{"model":"m","message":{"tool_calls":[{"function":{"name":"f","arguments":{"done":true}}}]},"done":false}\n'
    const text = line('"done":true') + call + line('', '"done":true,"eval_count":2')
    const { last, bytes } = await passed(inPieces(Buffer.from(`${text}what follows`), 16))
    assert.equal(bytes.toString(), text)
    assert.equal((await last).eval_count, 2)
  })

  test('that reports an error fails with it, behind what came before', async () => {
    const text = `${line('tok0')}{"error":"llama runner process has terminated"}\n`
    const { last, bytes } = await passed(inPieces(Buffer.from(text), text.length))
    assert.equal(bytes.toString(), line('tok0'))
    await assert.rejects(last, failsWith('upstream_error'))
    const harmless = line('{"error":"a quotation"}') + line('', '"done":true')
    assert.equal((await passed(inPieces(Buffer.from(harmless), 9))).bytes.toString(), harmless)
  })

  test('that ends before its last line is cut off, and half a line goes to nobody', async () => {
    for (const rest of ['', '{"model":"m","mess', '{"model":"m","done":true,"eval_c']) {
      const { last, bytes } = await passed(inPieces(Buffer.from(line('tok0') + rest), 11))
      assert.equal(bytes.toString(), line('tok0'))
      await assert.rejects(last, failsWith('upstream_cut_off'))
    }
  })
})

/** Mulberry32: the same seed gives the same cases. */
function random(seed: number) {
  let state = seed
  const next = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (limit: number) => Math.floor(next() * limit)
  const pick = <T>(list: readonly T[]): T => list[below(list.length)] as T
  const maybe = (value: object) => (next() < 0.5 ? value : {})
  const text = () => Array.from({ length: 1 + below(4) }, () => pick(pieces)).join('')
  return { below, pick, maybe, text }
}
const pieces = ['a', 'Zeit', '水', '🚰', '\n', '"', '\\', '\u2028', 'data: {', '}', ' ', '[DONE]']
const rounds = 300

test('any chat of an Ollama client means the same once it was translated to OpenAI and back', () => {
  const { below, pick, maybe, text } = random(6)
  for (let round = 0; round < rounds; round += 1) {
    const messages: Record<string, unknown>[] = [
      ...(below(2) === 0 ? [{ role: 'system', content: text() }] : []),
      { role: 'user', content: text(), ...maybe({ images: ['iVBORw0KGgo='] }) },
    ]
    if (below(2) === 0) {
      const names = Array.from({ length: 1 + below(3) }, () => pick(['f', 'g', 'h']))
      const tool_calls = names.map((name, index) => {
        return { id: `id${index}`, function: { name, arguments: { [text()]: [text(), below(9)] } } }
      })
      messages.push({ role: 'assistant', content: '', ...maybe({ thinking: text() }), tool_calls })
      for (const [index, tool_name] of names.entries()) {
        messages.push({ role: 'tool', content: text(), tool_name, tool_call_id: `id${index}` })
      }
      messages.push({ role: 'assistant', content: text() }, { role: 'user', content: text() })
    }
    const request = {
      model: 'llama3.2',
      messages,
      ...maybe({ tools: [{ type: 'function', function: { name: 'f', parameters: {} } }] }),
      ...maybe({ format: pick(['json', { type: 'object' }]) }),
      ...maybe({ think: pick([false, 'low', 'medium', 'high', 'max']) }),
      ...maybe({ logprobs: true, top_logprobs: below(20) }),
      options: {
        ...maybe({ temperature: below(20) / 10, top_p: 0.5, seed: below(100) }),
        ...maybe({ num_predict: 1 + below(100), stop: [text(), text()] }),
        ...maybe({ top_k: 1 + below(100), min_p: 0.1, presence_penalty: 1 }),
      },
      stream: pick([true, false]),
    }
    const { body } = ollamaChat.toCanonical(request)
    const back = chatCall(testCall(body, { stream: request.stream })).request
    const { options, ...rest } = request
    assert.deepEqual(back, Object.keys(options).length > 0 ? request : rest)
  }
})

test("any stream of Ollama's means the same once it was translated to OpenAI and back", async () => {
  const { below, pick, text } = random(7)
  for (let round = 0; round < rounds; round += 1) {
    const lines: Record<string, unknown>[] = []
    for (let count = below(3); count > 0; count -= 1) {
      lines.push({ message: { role: 'assistant', content: '', thinking: text() }, done: false })
    }
    for (let count = below(4); count > 0; count -= 1) {
      lines.push({ message: { role: 'assistant', content: text() }, done: false })
    }
    const calls = Array.from({ length: below(3) }, (_, index) => {
      return { id: `id${index}`, function: { index, name: 'f', arguments: { [text()]: text() } } }
    })
    if (calls.length > 0) {
      lines.push({ message: { role: 'assistant', content: '', tool_calls: calls }, done: false })
    }
    const done_reason = calls.length > 0 ? 'stop' : pick(['stop', 'length'])
    const said = { role: 'assistant', content: '' }
    lines.push({ message: said, done: true, done_reason, prompt_eval_count: 3, eval_count: 4 })

    const upstream = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    const call = testCall({ messages: [{ role: 'user', content: 'x' }] }, { stream: true })
    const translate = chatCall(call).stream?.()
    assert.ok(translate !== undefined)
    const canonical: Uint8Array[] = []
    const body = inPieces(upstream, 1 + below(80))
    const usage = usageOf(await translateStream(body, 'm', translate, (one) => canonical.push(one)))
    assert.ok(usage !== null)

    const stream = ollamaChat.stream({ model: 'm' })
    const out: Uint8Array[] = []
    for await (const piece of inPieces(Buffer.concat(canonical), 1 + below(80))) {
      const bytes = stream.push(piece)
      if (bytes !== null) out.push(bytes)
    }
    const end = { head: null, usage: { ...noUsage, ...usage }, startedAt: 0, endedAt: 0 }
    out.push(stream.end(end))
    const back = Buffer.concat(out).toString().trimEnd().split('\n')
    assert.deepEqual(
      back.map((line) => {
        const { model: _model, created_at: _at, ...rest } = JSON.parse(line)
        return rest
      }),
      lines,
    )
  }
})
