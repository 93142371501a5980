import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { test } from 'node:test'
import { finishResponse } from './finish-response.ts'

const size = 32 * 1024 * 1024
const limitMs = 300

async function startServer() {
  const answered = Promise.withResolvers<ServerResponse>()
  const server = createServer((_req, res) => {
    answered.resolve(res)
    finishResponse(res, Buffer.alloc(size, 32), limitMs)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n')
  const close = () => {
    socket.destroy()
    server.close()
  }
  return { socket, res: await answered.promise, close }
}

test('a client that stops reading is let go', async () => {
  const { socket, res, close } = await startServer()
  socket.pause()
  await once(res, 'close')
  assert.equal(res.writableFinished, false)
  close()
})

test('one that reads slowly gets everything', async () => {
  const { socket, res, close } = await startServer()
  let read = 0
  socket.on('data', (data) => {
    read += data.length
    if (read % 7 !== 0) return
    socket.pause()
    setTimeout(() => socket.resume(), 20)
  })
  await once(res, 'finish')
  while (read < size) await once(socket, 'data')
  assert.ok(read > size)
  close()
})

test('an answer that waits behind it on the connection may take its time', async () => {
  const server = createServer((req, res) => {
    if (req.url === '/first') finishResponse(res, Buffer.alloc(size, 32), limitMs)
    else setTimeout(() => res.end('second'), 3 * limitMs)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  for (const path of ['/first', '/second']) socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`)
  let tail = ''
  socket.on('data', (data) => {
    tail = `${tail}${data.subarray(-20).toString()}`.slice(-20)
    if (tail.endsWith('second')) socket.destroy()
  })
  await once(socket, 'close')
  assert.match(tail, /second$/)
  server.close()
})
