import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { answeredLine, failedLine, unaskedLine } from './engine/output-line.ts'
import { inputLine, refusedLines, resultLines } from './message-lines.ts'

async function* fileOf(...lines: string[]) {
  for (const line of lines) yield Buffer.from(`${line}\n`)
}

async function read(lines: AsyncIterable<Buffer>): Promise<unknown[]> {
  const all: unknown[] = []
  for await (const line of lines) all.push(JSON.parse(line.toString()))
  return all
}

const error = { type: 'error', error: { type: 'invalid_request_error', message: 'No.' } }
const lines = () => [
  answeredLine('1-2', 'done', '{"type":"message"}'),
  failedLine('1-3', 'refused', new PenstockError('invalid_request', 'No.').info, error),
  unaskedLine('late', 'batch_expired'),
  unaskedLine('left', 'batch_cancelled'),
]

test('every line that the engine writes is a result', async () => {
  assert.deepEqual(await read(resultLines(fileOf(...lines()))), [
    { custom_id: 'done', result: { type: 'succeeded', message: { type: 'message' } } },
    { custom_id: 'refused', result: { type: 'errored', error } },
    { custom_id: 'late', result: { type: 'expired' } },
    { custom_id: 'left', result: { type: 'canceled' } },
  ])
})

test('where the input was refused, each of its requests has that error', async () => {
  const requests = ['a', 'b'].map((custom_id) => inputLine({ custom_id, params: { model: 'm' } }))
  const input = async function* () {
    yield* requests
  }
  assert.deepEqual(await read(refusedLines(input(), (line) => ({ line }))), [
    { custom_id: 'a', result: { type: 'errored', error: { line: 1 } } },
    { custom_id: 'b', result: { type: 'errored', error: { line: 2 } } },
  ])
})

test('a file that is not of the engine is an error, not a result', async () => {
  await assert.rejects(read(resultLines(fileOf('{"custom_id":"a"}'))), PenstockError)
})
