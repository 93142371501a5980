import assert from 'node:assert/strict'
import { test } from 'node:test'
import { usageEventOf } from '@penstock/shared/pricing/fixtures/usage-event'
import { priceUsage } from '@penstock/shared/pricing/price'
import type { SpanOptions, Tracing } from '@penstock/shared/telemetry/trace'
import pino from 'pino'
import { reportUsage } from './report-usage.ts'

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

function report(changes: Parameters<typeof usageEventOf>[0]) {
  const lines: string[] = []
  const spans: SpanOptions[] = []
  const tracing: Tracing = {
    start: (_name, options) => {
      spans.push(options)
      return null
    },
    close: () => Promise.resolve(),
  }
  const event = usageEventOf(changes)
  const rejects = [{ reason: 'not JSON', payload: Buffer.from('a secret') }]
  const entries = [{ event, priced: priceUsage(event) }]
  const log = pino({}, { write: (line: string) => lines.push(line) })
  reportUsage(log, tracing, { entries, duplicates: 0, crossings: [], rejects }, 1_000)
  return { lines, spans }
}

test('each recorded event is one line, with neither key nor user in it', () => {
  const caller = { keyId: 'the-key', userId: 'the-user', teamId: null, endUser: 'the-end-user' }
  const { lines } = report({ caller })
  assert.partialDeepStrictEqual(JSON.parse(lines[0] ?? ''), {
    msg: 'usage recorded',
    requestId: 'req-1',
    correlationId: 'corr-1',
    costUsd: '0.0045',
    priceSource: 'price-table',
  })
  assert.doesNotMatch(lines.join(), /the-key|the-user|the-end-user/)
})

test('what was set aside is said without its content', () => {
  const { lines } = report({})
  assert.partialDeepStrictEqual(JSON.parse(lines[1] ?? ''), { reason: 'not JSON', bytes: 8 })
  assert.doesNotMatch(lines.join(), /a secret/)
})

test('the span of a traced request is its child, and an untraced one has none', () => {
  const { spans } = report({ traceparent })
  assert.partialDeepStrictEqual(spans, [
    { parent: traceparent, startTime: 1_000, attributes: { 'gen_ai.usage.input_tokens': 1_000 } },
  ])
  assert.equal(report({}).spans.length, 0)
})
