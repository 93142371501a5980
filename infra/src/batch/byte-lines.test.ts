import assert from 'node:assert/strict'
import { test } from 'node:test'
import { byteLines, LineTooLong, maxLineBytes } from './byte-lines.ts'

async function linesOf(...chunks: string[]): Promise<string[]> {
  const source = async function* () {
    for (const chunk of chunks) yield Buffer.from(chunk)
  }
  const lines: string[] = []
  for await (const line of byteLines(source())) lines.push(Buffer.from(line).toString())
  return lines
}

test('lines are the same however their bytes are cut', async () => {
  const text = 'one\r\ntwo\n\nfour'
  const expected = ['one', 'two', '', 'four']
  for (let cut = 0; cut <= text.length; cut += 1) {
    assert.deepEqual(await linesOf(text.slice(0, cut), text.slice(cut)), expected)
  }
  assert.deepEqual(await linesOf(...text), expected)
  assert.deepEqual(await linesOf('one\n'), ['one'])
  assert.deepEqual(await linesOf(), [])
})

test('a line without an end does not fill the memory', async () => {
  const endless = async function* () {
    yield Buffer.from('short\n')
    for (;;) yield Buffer.alloc(maxLineBytes / 8, 'x')
  }
  const read = async () => {
    for await (const line of byteLines(endless())) assert.equal(line.length, 5)
  }
  await assert.rejects(read, (error) => error instanceof LineTooLong && error.number === 2)
})
