// What Anthropic's clients send and read, against the words of its API reference. The round trips with
// its documented answers stand in workers/src/providers/anthropic-round-trip.test.ts.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { PenstockError } from '../../contracts/errors.ts'
import { noUsage } from '../../contracts/usage.ts'
import { cutAnywhere, seeded } from '../../fixtures/seeded.ts'
import { messages as dialect } from './messages.ts'

const base = { model: 'm', max_tokens: 16, messages: [{ role: 'user', content: 'hi' }] }
const end = {
  head: null,
  usage: { ...noUsage, promptTokens: 10, completionTokens: 4, cachedPromptTokens: 6 },
  startedAt: 1,
  endedAt: 2,
}
const canonical = (more: object) => dialect.toCanonical({ ...base, ...more }).body
const asked = (content: unknown, role = 'user') =>
  canonical({ messages: [{ role, content }] }).messages

describe('a request', () => {
  test('without anything special is the same few fields', () => {
    const messages = [{ role: 'user', content: 'hi' }]
    assert.deepEqual(canonical({}), { model: 'm', max_tokens: 16, messages })
  })

  test('has its parameters under their names at OpenAI', () => {
    const schema = { type: 'object', properties: {} }
    const body = canonical({
      system: 'be brief',
      stop_sequences: ['END'],
      top_k: 4,
      tools: [{ name: 'f', description: 'does', input_schema: schema, type: 'custom' }],
      tool_choice: { type: 'any', disable_parallel_tool_use: true },
      output_config: { format: { type: 'json_schema', schema } },
      metadata: { user_id: 'u', data: 'local' },
      stream: true,
    })
    const { messages: _said, ...rest } = body
    assert.deepEqual(rest, {
      model: 'm',
      max_tokens: 16,
      stream: true,
      top_k: 4,
      stop: ['END'],
      tools: [
        { type: 'function', function: { name: 'f', description: 'does', parameters: schema } },
      ],
      tool_choice: 'required',
      parallel_tool_calls: false,
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'answer', strict: true, schema },
      },
      user: 'u',
      metadata: { data: 'local' },
    })
  })

  test('has its results of tools as messages of their own, and their pictures behind them', () => {
    const source = { type: 'base64', media_type: 'image/png', data: 'AAAA' }
    const content = [
      { type: 'text', text: 'seen' },
      { type: 'image', source },
    ]
    assert.deepEqual(
      asked([
        { type: 'tool_result', tool_use_id: 'a', content },
        { type: 'tool_result', tool_use_id: 'b', content: 'no such file', is_error: true },
        { type: 'tool_result', tool_use_id: 'c' },
        { type: 'text', text: 'go on' },
      ]),
      [
        { role: 'tool', tool_call_id: 'a', content: 'seen' },
        { role: 'tool', tool_call_id: 'b', content: 'Error: no such file' },
        { role: 'tool', tool_call_id: 'c', content: '' },
        {
          role: 'user',
          content: [
            { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
            { type: 'text', text: 'go on' },
          ],
        },
      ],
    )
  })

  test('has documents as files, and those of plain text as text', () => {
    const pdf = { type: 'base64', media_type: 'application/pdf', data: 'JVBE' }
    const text = { type: 'text', media_type: 'text/plain', data: 'words' }
    assert.deepEqual(
      asked([
        { type: 'document', source: pdf, title: 'a.pdf' },
        { type: 'document', source: text, title: 'Notes' },
      ]),
      [
        {
          role: 'user',
          content: [
            {
              type: 'file',
              file: { filename: 'a.pdf', file_data: 'data:application/pdf;base64,JVBE' },
            },
            { type: 'text', text: 'Notes\nwords' },
          ],
        },
      ],
    )
  })

  test('has the calls of its assistant with their input as text', () => {
    const call = { type: 'tool_use', id: 'a', name: 'f', input: { x: 1 } }
    const calls = [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{"x":1}' } }]
    assert.deepEqual(asked([call], 'assistant'), [
      { role: 'assistant', content: null, tool_calls: calls },
    ])
  })

  test('is refused with the place of its fault', () => {
    const refused = (more: object, param: string) =>
      assert.throws(
        () => dialect.toCanonical({ ...base, ...more }),
        (error) => {
          assert.ok(error instanceof PenstockError)
          assert.deepEqual([error.code, error.info.param], ['invalid_request', param])
          return true
        },
      )
    refused({ max_tokens: undefined }, 'max_tokens')
    refused({ messages: [{ role: 'tool', content: 'x' }] }, 'messages[0].role')
    refused({ messages: [{ role: 'user', content: [{ text: 'x' }] }] }, 'messages[0].content')
    refused({ temperature: 2 }, 'temperature')
  })
})

describe('an answer', () => {
  const reply = (message: object, finish_reason: string, more: object = {}) => ({
    id: 'chatcmpl-1',
    model: 'llama',
    choices: [{ index: 0, message: { role: 'assistant', ...message }, finish_reason, ...more }],
  })

  test('counts its cached tokens apart', () => {
    const message = dialect.answer(reply({ content: 'ok' }, 'stop'), base, end)
    assert.deepEqual(message, {
      id: 'msg_1',
      type: 'message',
      role: 'assistant',
      model: 'llama',
      content: [{ type: 'text', text: 'ok' }],
      stop_reason: 'end_turn',
      stop_sequence: null,
      usage: {
        input_tokens: 4,
        cache_creation_input_tokens: 0,
        cache_read_input_tokens: 6,
        output_tokens: 4,
      },
    })
  })

  test('has a stop reason of the API for each of OpenAI', () => {
    const stopped = (finish: string, request: object = base, more: object = {}) => {
      const { stop_reason: reason, stop_sequence: sequence } = dialect.answer(
        reply({ content: 'ok' }, finish, more),
        { ...request },
        end,
      )
      return [reason, sequence]
    }
    assert.deepEqual(stopped('length'), ['max_tokens', null])
    assert.deepEqual(stopped('content_filter'), ['refusal', null])
    const stop_sequences = ['END']
    const matched = { stop_reason: 'END' }
    assert.deepEqual(stopped('stop', { ...base, stop_sequences }, matched), [
      'stop_sequence',
      'END',
    ])
    assert.deepEqual(stopped('stop', base, { stop_reason: 128_009 }), ['end_turn', null])
  })

  test('with calls has blocks with their input, and none with what is no JSON', () => {
    const call = (json: string) => ({ id: 'c', function: { name: 'f', arguments: json } })
    const tool_calls = [call('{"x":1}'), call('{"x":')]
    const message = dialect.answer(reply({ content: null, tool_calls }, 'stop'), base, end)
    const block = { type: 'tool_use', id: 'c', name: 'f' }
    assert.deepEqual(message.content, [
      { ...block, input: { x: 1 } },
      { ...block, input: {} },
    ])
    assert.equal(message.stop_reason, 'tool_use')
  })
})

describe('a stream', () => {
  const chunk = (delta: object, finish_reason: string | null = null) =>
    `data: ${JSON.stringify({ id: 'chatcmpl-1', model: 'llama', choices: [{ index: 0, delta, finish_reason }] })}\n\n`
  const call = (index: number, id: string | null, name: string | null, json: string) => ({
    tool_calls: [
      {
        index,
        ...(id === null ? {} : { id }),
        function: { ...(name && { name }), arguments: json },
      },
    ],
  })
  const textOf = (bytes: Uint8Array | null) => Buffer.from(bytes ?? []).toString()

  test('is whole at any cut: thinking, text and calls in blocks one after the other', () => {
    const sent = Buffer.from(
      [
        chunk({ role: 'assistant', content: '' }),
        chunk({ reasoning_content: 'hm' }),
        chunk({ content: '漢' }),
        chunk({ content: '字' }),
        chunk(call(0, 'a', 'f', '')),
        chunk(call(0, null, null, '{"x":1}')),
        // Numbered 0 again, as some servers do it.
        chunk(call(0, 'b', 'g', '{}')),
        chunk({}, 'tool_calls'),
      ].join(''),
    )
    const request = { ...base, thinking: { type: 'adaptive' } }
    const written = (pieces: Uint8Array[]) => {
      const stream = dialect.stream(request)
      return [...pieces.map((piece) => textOf(stream.push(piece))), textOf(stream.end(end))].join(
        '',
      )
    }
    const whole = written([sent])
    for (let seed = 1; seed <= 20; seed += 1) {
      assert.equal(written(cutAnywhere(seeded(seed), sent, seed)), whole)
    }
    const events = whole
      .trim()
      .split('\n\n')
      .map((event) => {
        const [name = '', data = ''] = event.split('\n')
        const { type, index, ...more } = JSON.parse(data.replace('data: ', ''))
        assert.equal(name, `event: ${type}`)
        return [type.replace('content_block_', ''), index, more.content_block ?? more.delta]
      })
    assert.deepEqual(events.slice(2), [
      ['start', 0, { type: 'thinking', thinking: '', signature: '' }],
      ['delta', 0, { type: 'thinking_delta', thinking: 'hm' }],
      ['stop', 0, undefined],
      ['start', 1, { type: 'text', text: '' }],
      ['delta', 1, { type: 'text_delta', text: '漢' }],
      ['delta', 1, { type: 'text_delta', text: '字' }],
      ['stop', 1, undefined],
      ['start', 2, { type: 'tool_use', id: 'a', name: 'f', input: {} }],
      ['delta', 2, { type: 'input_json_delta', partial_json: '{"x":1}' }],
      ['stop', 2, undefined],
      ['start', 3, { type: 'tool_use', id: 'b', name: 'g', input: {} }],
      ['delta', 3, { type: 'input_json_delta', partial_json: '{}' }],
      ['stop', 3, undefined],
      ['message_delta', undefined, { stop_reason: 'tool_use', stop_sequence: null }],
      ['message_stop', undefined, undefined],
    ])
  })

  test('that goes back to an earlier call is given up, not mixed up', () => {
    const stream = dialect.stream(base)
    const both = chunk(call(0, 'a', 'f', '{')) + chunk(call(1, 'b', 'g', '{'))
    stream.push(Buffer.from(both))
    const back = Buffer.from(chunk(call(0, null, null, '}')))
    assert.throws(() => stream.push(back), { code: 'upstream_invalid_response' })
  })

  test('that fails ends with an event of its error', () => {
    const { info } = new PenstockError('upstream_rate_limited', 'Too many.')
    const error = { type: 'error', error: { type: 'rate_limit_error', message: 'Too many.' } }
    const written = textOf(dialect.stream(base).error(info))
    assert.equal(written, `event: error\ndata: ${JSON.stringify(error)}\n\n`)
    assert.deepEqual(dialect.errorBody(info, 'r1'), { ...error, request_id: 'r1' })
  })
})

test('tokens of bytes that went through are counted by the text in them', () => {
  const event = (delta: object) => `event: x\ndata: ${JSON.stringify({ type: 'x', delta })}\n\n`
  const sent = Buffer.from(
    event({ type: 'text_delta', text: 'grün' }) +
      event({ type: 'thinking_delta', thinking: 'hm' }) +
      event({ type: 'input_json_delta', partial_json: '{"a' }) +
      event({ type: 'text_delta', text: 'lost' }).slice(0, 30),
  )
  const cut = cutAnywhere(seeded(3), sent, 5)
  assert.deepEqual(dialect.nativeTexts?.(cut).filter(Boolean), ['grün', 'hm', '{"a'])
  const content = [
    { type: 'text', text: 'a' },
    { type: 'tool_use', name: 'f', input: { x: 1 } },
  ]
  const whole = Buffer.from(JSON.stringify({ content }))
  assert.deepEqual(dialect.nativeTexts?.([whole]), ['af{"x":1}'])
})

test('a call that is closed by an empty piece, behind the next one, is whole', () => {
  const pieces = [
    { index: 0, id: 'c1', function: { name: 'f', arguments: '{}' } },
    { index: 1, id: 'c2', function: { name: 'g', arguments: '{}' } },
    { index: 0, function: { arguments: '' } },
  ]
  const chunks = pieces.map((call) => ({ choices: [{ index: 0, delta: { tool_calls: [call] } }] }))
  const events = chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('')
  const stream = dialect.stream(base)
  const told = `${Buffer.from(stream.push(Buffer.from(events)) ?? '')}${Buffer.from(stream.end(end))}`
  assert.equal(told.match(/event: content_block_start/g)?.length, 2)
  assert.match(told, /"stop_reason":"tool_use"/)
})
