import assert from 'node:assert/strict'
import { test } from 'node:test'
import { spendLogsFilters, spendSummaryDay, spendSummaryFilters } from './spend.ts'

test('dates are days or moments, with a T or a space between', () => {
  const written: [string, string][] = [
    ['2024-02-29', '2024-02-29'],
    ['2024-02-29 10:00:00', '2024-02-29T10:00:00'],
    ['2024-02-29T10:00:00Z', '2024-02-29T10:00:00Z'],
    ['2024-02-29T10:00:00.123+02:00', '2024-02-29T10:00:00.123+02:00'],
  ]
  for (const [text, read] of written) {
    assert.equal(spendLogsFilters.parse({ end_date: text }).end_date, read)
  }
  for (const text of ['2023-02-29', '29.02.2024', 'yesterday', '', '2024-02-29T25:00:00Z']) {
    assert.equal(spendLogsFilters.safeParse({ end_date: text }).success, false, text)
  }
})

test('a page has 1 to 500 rows, 100 unless asked for otherwise', () => {
  assert.equal(spendLogsFilters.parse({}).limit, 100)
  for (const limit of [0, 501, 1.5]) {
    assert.equal(spendLogsFilters.safeParse({ limit }).success, false)
  }
})

test('a summary is asked for by whole days', () => {
  const query = { start_date: '2024-01-01', end_date: '2024-01-31' }
  assert.deepEqual(spendSummaryFilters.parse(query), query)
  const moments = { ...query, end_date: '2024-01-31T00:00:00Z' }
  assert.equal(spendSummaryFilters.safeParse(moments).success, false)
})

test('a day of the summary keeps its sums by key', () => {
  const day = { startTime: '2024-01-01', spend: 1, models: { m: 1 }, users: { '': 1 }, hash: 1 }
  assert.deepEqual(spendSummaryDay.parse(day), day)
})
