import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ObjectStore } from '@nats-io/obj'
import { readBlob } from './read-blob.ts'

/** A store with one blob, whose parts come or do not, as the client library gives them. */
function storeOf(parts: string[], isWhole: boolean) {
  const cancelled = Promise.withResolvers<Error | null>()
  const data = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const part of parts) controller.enqueue(Buffer.from(part))
      if (isWhole) controller.close()
    },
    cancel: () => cancelled.resolve(null),
  })
  const error = isWhole ? Promise.resolve(null) : cancelled.promise
  const info = { size: Buffer.byteLength(parts.join('')) + (isWhole ? 0 : 1) }
  return { get: async () => ({ info, data, error }) } as unknown as ObjectStore
}

test('a blob is read whole', async () => {
  assert.equal(String(await readBlob(storeOf(['ab', 'c'], true), 'x')), 'abc')
})

test('one whose bytes were deleted after it was found is not waited for', async () => {
  for (const parts of [[], ['ab']]) {
    await assert.rejects(
      readBlob(storeOf(parts, false), 'x', { limitMs: 20 }),
      /not there any more/,
    )
  }
})

test('nor is one that nobody wants any more', async () => {
  const leaving = new AbortController()
  const read = readBlob(storeOf(['ab'], false), 'x', { signal: leaving.signal })
  leaving.abort()
  await assert.rejects(read, /not there any more/)
})
