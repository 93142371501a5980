import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ollamaMessages } from './ollama-messages.ts'
import { failsWith } from './provider-test-kit.ts'

const pixel = 'iVBORw0KGgoAAAANSUhEUg=='

function one(message: Record<string, unknown>) {
  return ollamaMessages([message])[0]
}

test('roles keep their meaning, a developer speaks as the system', () => {
  const roles = ['system', 'developer', 'user', 'assistant', 'tool']
  const mapped = ollamaMessages(roles.map((role) => ({ role, content: 'x' })))
  assert.deepEqual(
    mapped.map(({ role }) => role),
    ['system', 'system', 'user', 'assistant', 'tool'],
  )
})

test('text parts are joined by newlines', () => {
  const content = ['one', 'two'].map((text) => ({ type: 'text', text }))
  assert.deepEqual(one({ role: 'user', content }), { role: 'user', content: 'one\ntwo' })
})

test('images travel as bare base64, in the order in which they stand', () => {
  const content = [
    { type: 'text', text: 'Compare.' },
    { type: 'image_url', image_url: { url: `data:image/png;base64,${pixel}`, detail: 'low' } },
    { type: 'image_url', image_url: 'data:;base64,QUJD' },
  ]
  assert.deepEqual(one({ role: 'user', content }), {
    role: 'user',
    content: 'Compare.',
    images: [pixel, 'QUJD'],
  })
})

test('an image behind a link is refused: a request does not choose whom we call', () => {
  for (const url of ['http://169.254.169.254/latest', 'https://example.com/a.png', 'HTTPS://x/']) {
    const content = [
      { type: 'text', text: 'a' },
      { type: 'image_url', image_url: { url } },
    ]
    assert.throws(
      () => one({ role: 'user', content }),
      failsWith('unsupported_parameter', 'messages[0].content[1].image_url'),
    )
  }
})

test('an image that is no base64 data URL is an invalid request', () => {
  for (const url of ['data:image/png,abc', 'file:///etc/passwd', 'iVBORw0KGgo', '']) {
    assert.throws(
      () => one({ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }),
      failsWith('invalid_request', 'messages[0].content[0].image_url'),
    )
  }
})

test('content that Ollama cannot take is refused by its place', () => {
  assert.throws(
    () => one({ role: 'user', content: [{ type: 'file', file: { file_id: 'f' } }] }),
    failsWith('unsupported_parameter', 'messages[0].content[0]'),
  )
})

test('a tool round trip: arguments as an object, the result with the name of its tool', () => {
  const calls = [
    { id: 'c1', type: 'function', function: { name: 'get_tide', arguments: '{"port":"Brest"}' } },
    { id: 'c2', type: 'function', function: { name: 'get_wind', arguments: '' } },
  ]
  const mapped = ollamaMessages([
    { role: 'user', content: 'Tide?' },
    { role: 'assistant', content: null, tool_calls: calls },
    { role: 'tool', tool_call_id: 'c2', content: 'calm' },
    { role: 'tool', tool_call_id: 'c1', content: [{ type: 'text', text: '4 m' }] },
  ])
  assert.deepEqual(mapped.slice(1), [
    {
      role: 'assistant',
      content: '',
      tool_calls: [
        { id: 'c1', function: { name: 'get_tide', arguments: { port: 'Brest' } } },
        { id: 'c2', function: { name: 'get_wind', arguments: {} } },
      ],
    },
    { role: 'tool', content: 'calm', tool_name: 'get_wind', tool_call_id: 'c2' },
    { role: 'tool', content: '4 m', tool_name: 'get_tide', tool_call_id: 'c1' },
  ])
})

test('arguments that are no JSON object are an invalid request', () => {
  for (const given of ['{"port":', '[1]', '"x"']) {
    const calls = [{ id: 'c', type: 'function', function: { name: 'f', arguments: given } }]
    assert.throws(
      () => one({ role: 'assistant', content: '', tool_calls: calls }),
      failsWith('invalid_request', 'messages[0].tool_calls[0].function.arguments'),
    )
  }
})

test('an earlier answer keeps its reasoning', () => {
  const message = { role: 'assistant', content: 'Noon.', reasoning_content: 'Look it up.' }
  assert.equal(one(message)?.thinking, 'Look it up.')
})

test('what is no message is named by its place', () => {
  assert.throws(() => ollamaMessages(undefined), failsWith('invalid_request', 'messages'))
  assert.throws(() => ollamaMessages([]), failsWith('invalid_request', 'messages'))
  assert.throws(
    () => ollamaMessages([{ role: 'user', content: 'a' }, { role: 'robot' }]),
    failsWith('invalid_request', 'messages[1].role'),
  )
  assert.throws(
    () => one({ role: 'user', content: 7 }),
    failsWith('invalid_request', 'messages[0].content'),
  )
})
