import assert from 'node:assert/strict'
import { test } from 'node:test'
import { keyOperations } from './keys.ts'

const generate = keyOperations['key.generate'].params
const list = keyOperations['key.list'].params

test('a field that is not known is refused by name, unless it says nothing', () => {
  const empty = {
    permissions: {},
    guardrails: [],
    config: null,
    send_invite_email: false,
    note: '',
  }
  assert.deepEqual(generate.parse({ rpm_limit: 1, ...empty }), { rpm_limit: 1 })
  for (const value of [0, 'x', true, ['x'], { x: 1 }]) {
    const { error } = generate.safeParse({ max_bugdet: value })
    assert.deepEqual(
      error?.issues.map((issue) => issue.code === 'unrecognized_keys' && issue.keys),
      [['max_bugdet']],
    )
  }
})

test('no parameters at all are none', () => {
  assert.deepEqual(generate.parse(undefined), {})
  assert.deepEqual(generate.parse(null), {})
  assert.equal(generate.safeParse([]).success, false)
})

test('what was parsed parses again, to the same: the gateway parses, and billing', () => {
  const query = { page: '2', size: '5', return_full_object: 'True', include_team_keys: '0' }
  const once = list.parse(query)
  assert.deepEqual(once, { page: 2, size: 5, return_full_object: true, include_team_keys: false })
  assert.deepEqual(list.parse(JSON.parse(JSON.stringify(once))), once)
  const body = { duration: '30d', model_max_budget: { a: 1, b: { budget_limit: 2 } }, models: null }
  assert.deepEqual(generate.parse(generate.parse(body)), generate.parse(body))
})

test('names are short and printable, durations positive, money not negative', () => {
  const wrong: Record<string, unknown>[] = [
    { key_alias: '' },
    { key_alias: 'a\u0000' },
    { key_alias: 'x'.repeat(257) },
    { duration: '0d' },
    { duration: '5y' },
    { duration: '1201mo' },
    { budget_duration: '99999w' },
    { duration: '-1' },
    { max_budget: -0.1 },
    { max_budget: '5' },
    { max_budget: 1e13 },
    { rpm_limit: 0 },
    { rpm_limit: 1.5 },
    { spend: 3 },
    { budget_timezone: 'Europe/Nowhere' },
    { budget_timezone: '+05:30' },
    { metadata: { text: 'x'.repeat(70_000) } },
  ]
  for (const fields of wrong) {
    assert.equal(generate.safeParse(fields).success, false, JSON.stringify(fields).slice(0, 80))
  }
})
