// What becomes of the connection of a stream that fails: the SDK leaves it to us.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { bedrock } from './bedrock.ts'
import { failsWith } from './provider-test-kit.ts'
import { runCall, upstreamForTests } from './upstream-test-kit.ts'

const upstream = await upstreamForTests()
/** AWS's event stream encoding: lengths, a checksum, headers, payload, a checksum; all big-endian. */
function frame(type: string, payload: unknown, kind: 'event' | 'exception'): Buffer {
  const headers = Buffer.concat([
    header(':message-type', kind),
    header(`:${kind}-type`, type),
    header(':content-type', 'application/json'),
  ])
  const body = Buffer.from(JSON.stringify(payload))
  const lengths = Buffer.alloc(8)
  lengths.writeUInt32BE(16 + headers.length + body.length, 0)
  lengths.writeUInt32BE(headers.length, 4)
  const head = Buffer.concat([lengths, checksum(lengths), headers, body])
  return Buffer.concat([head, checksum(head)])
}

/** 7: a text. */
function header(name: string, value: string): Buffer {
  const length = [value.length >> 8, value.length & 0xff]
  const start = Buffer.from([name.length, ...Buffer.from(name), 7, ...length])
  return Buffer.concat([start, Buffer.from(value)])
}

function checksum(bytes: Buffer): Buffer {
  const sum = Buffer.alloc(4)
  sum.writeUInt32BE(crc32(bytes))
  return sum
}

for (const [code, bytes] of [
  [
    'upstream_invalid_response',
    frame('messageStop', { stopReason: 'malformed_tool_use' }, 'event'),
  ],
  ['upstream_rate_limited', frame('throttlingException', { message: 'slow' }, 'exception')],
] as const) {
  test(`a stream that fails with ${code} is closed, though the upstream would go on`, async () => {
    const closed = Promise.withResolvers<string>()
    upstream.answer((response) => {
      response.writeHead(200, { 'content-type': 'application/vnd.amazon.eventstream' })
      response.write(bytes)
      void once(response, 'close').then(() => closed.resolve('closed'))
    })
    const defaults = {
      aws_region_name: 'us-east-1',
      aws_bedrock_runtime_endpoint: upstream.origin,
      aws_access_key_id: 'a',
      aws_secret_access_key: 'b',
    }
    const model = 'anthropic.claude-3-haiku'
    const call = runCall(
      bedrock.provider,
      { messages: [{ role: 'user', content: 'hi' }] },
      { model, stream: true, deployment: { defaults, model: `bedrock/${model}` } },
    )
    await assert.rejects(call, failsWith(code))
    const late = sleep(2_000, 'still open', { ref: false })
    assert.equal(await Promise.race([closed.promise, late]), 'closed')
  })
}
