import assert from 'node:assert/strict'
import { test } from 'node:test'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { checkModels } from './key-rules.ts'

const cases: [string[], string[], boolean][] = [
  [['a'], [], true],
  [['a'], ['a', 'b'], true],
  [['a', 'c'], ['a', 'b'], false],
  [['openai/gpt-4o'], ['openai/*'], true],
  [['openai/gpt-*'], ['openai/*'], true],
  [['openai/*'], ['openai/gpt-*'], false],
  [['*'], ['a'], false],
  [['all-proxy-models'], ['a'], false],
  [['all-team-models'], ['a'], true],
  [['no-default-models'], ['a'], true],
  [['b'], ['all-proxy-models'], true],
  [['b'], ['*'], true],
  [[], ['a'], true],
]

for (const [models, ofTeam, isWithin] of cases) {
  test(`[${models}] is ${isWithin ? '' : 'not '}within a team's [${ofTeam}]`, () => {
    const check = () => checkModels(models, ofTeam, 't')
    if (isWithin) return check()
    assert.throws(check, (error) => error instanceof PenstockError && error.info.param === 'models')
  })
}
