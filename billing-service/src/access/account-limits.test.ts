import assert from 'node:assert/strict'
import { test } from 'node:test'
import { amountOf, changedLimits, modelBudgetsOf, noLimits } from './account-limits.ts'

test('dollars are meant as they are written', () => {
  assert.equal(amountOf(0.1), 100_000_000_000n)
  assert.equal(amountOf(1e-12), 1n)
  assert.equal(amountOf(0), 0n)
  assert.equal(amountOf(1e12), 10n ** 24n)
})

test('a change leaves what it does not name; null takes away', () => {
  const before = changedLimits(noLimits, {
    max_budget: 1,
    budget_duration: '1d',
    budget_timezone: 'Europe/Berlin',
    model_max_budget: { a: 2 },
  })
  assert.deepEqual(changedLimits(before, {}), before)
  assert.deepEqual(changedLimits(before, { max_budget: null, soft_budget: 0.5 }), {
    ...before,
    max_amount: null,
    soft_amount: '500000000000',
  })
  assert.deepEqual(changedLimits(before, { model_max_budget: null }).models, {})
})

test('the budget of a model is read in all the forms that LiteLLM has had for it', () => {
  const monthly = { max_budget: '1000000000000', max_tokens_budget: null, budget_duration: '1mo' }
  assert.deepEqual(
    modelBudgetsOf({
      now: { max_budget: 1, budget_duration: '1mo' },
      before: { budget_limit: 1, time_period: '1mo' },
      first: 1,
      tokens: { max_tokens_budget: 5 },
    }),
    {
      now: monthly,
      before: monthly,
      first: { ...monthly, budget_duration: null },
      tokens: { max_budget: null, max_tokens_budget: 5, budget_duration: null },
    },
  )
})
