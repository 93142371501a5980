import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { splitLines } from './lines.ts'
import { sliceLines, validateFile } from './validate.ts'

const endpoint = '/v1/chat/completions'

function line(customId: string, model = 'known'): string {
  const body = { model, messages: [{ role: 'user', content: 'hello' }] }
  return JSON.stringify({ custom_id: customId, method: 'POST', url: endpoint, body })
}

/** In pieces of an odd size: line ends and characters fall between them. */
async function* inPieces(bytes: Buffer, size = 77): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

function validate(bytes: Buffer | string) {
  return validateFile({
    source: inPieces(Buffer.from(bytes)),
    endpoint,
    checkModel(model) {
      if (model !== 'known') throw new PenstockError('model_not_found', 'no such model')
    },
  })
}

test('the slices hold every line once, with its number, and nothing else', async () => {
  const lines = Array.from({ length: 100 }, (_, index) => line(`ä${index}`))
  lines.splice(40, 0, '', '   ')
  // Line ends of Windows, and none behind the last line.
  const bytes = Buffer.from(lines.join('\r\n'))
  const found = await validate(bytes)
  assert.ok(found.kind === 'slices')
  assert.equal(found.total, 100)
  assert.equal(found.slices.length, Math.ceil(102 / sliceLines))
  const read = found.slices.flatMap((slice) => {
    const end = slice.byte_offset + slice.byte_length
    return [...splitLines(bytes.subarray(slice.byte_offset, end), slice.first_line)]
  })
  assert.deepEqual(
    read.map(([number, text]) => [number, text.toString().trimEnd()]),
    lines.map((text, index) => [index + 1, text.trimEnd()]),
  )
})

test('each kind of fault is named, with its line', async () => {
  const notUtf8 = Buffer.concat([Buffer.from('{"custom_id":"'), Buffer.from([0xff, 0xfe, 0x0a])])
  const lines = [
    line('one'),
    '{"custom_id": "broken"',
    line('one'),
    JSON.stringify({ custom_id: 'two', method: 'GET', url: endpoint, body: { model: 'known' } }),
    JSON.stringify({ custom_id: 'three', method: 'POST', url: endpoint, body: { model: 'known' } }),
    line('four', 'unknown'),
    '[]',
  ]
  const found = await validate(Buffer.concat([notUtf8, Buffer.from(lines.join('\n'))]))
  assert.ok(found.kind === 'faults')
  assert.deepEqual(
    found.faults.map((fault) => [fault.line, fault.code, fault.param]),
    [
      [1, 'invalid_json_line', null],
      [3, 'invalid_json_line', null],
      [4, 'duplicate_custom_id', 'custom_id'],
      [5, 'invalid_request', 'method'],
      [6, 'invalid_request', 'messages'],
      [7, 'model_not_found', null],
      [8, 'invalid_request', null],
    ],
  )
  assert.match(found.faults[0]?.message ?? '', /UTF-8/)
  assert.match(found.faults[2]?.message ?? '', /line 2/)
})

test('an empty file, too many lines and too many faults are said once', async () => {
  const empty = await validate('\n\n')
  assert.ok(empty.kind === 'faults')
  assert.deepEqual(
    empty.faults.map(({ code }) => code),
    ['empty_file'],
  )
  const tooMany = await validate(Array.from({ length: 50_001 }, (_, n) => line(`${n}`)).join('\n'))
  assert.ok(tooMany.kind === 'faults')
  assert.deepEqual(
    tooMany.faults.map(({ code }) => code),
    ['too_many_lines'],
  )
  const bad = await validate('not json\n'.repeat(5_000))
  assert.ok(bad.kind === 'faults')
  assert.equal(bad.faults.length, 1_000)
})

test('a thousand bad lines among fifty thousand are all named', async () => {
  const isBad = (n: number) => n % 50 === 7
  const lines = Array.from({ length: 50_000 }, (_, n) => (isBad(n) ? '{"no":' : line(`${n}`)))
  const found = await validateFile({
    source: inPieces(Buffer.from(lines.join('\n')), 64 * 1024),
    endpoint,
    checkModel: () => {},
  })
  assert.ok(found.kind === 'faults')
  const expected = lines.flatMap((_, n) => (isBad(n) ? [n + 1] : []))
  assert.equal(expected.length, 1_000)
  assert.deepEqual(
    found.faults.map((fault) => fault.line),
    expected,
  )
})

test('a service that is away fails the check, not the file', async () => {
  const options = { source: inPieces(Buffer.from(line('one'))), endpoint }
  const away = () => {
    throw new PenstockError('service_unavailable', 'nobody can say')
  }
  await assert.rejects(validateFile({ ...options, checkModel: away }), {
    code: 'service_unavailable',
  })
})
