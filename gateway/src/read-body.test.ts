import assert from 'node:assert/strict'
import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { test } from 'node:test'
import { readBody } from './read-body.ts'

test('the body of a client that has left already is not waited for', async () => {
  const request = new IncomingMessage(new Socket())
  request.destroy()
  await assert.rejects(readBody(request), { code: 'client_closed_request' })
})
