import assert from 'node:assert/strict'
import { test } from 'node:test'
import { routingStrategies } from '@penstock/shared/config/config'
import { seeded } from '@penstock/shared/fixtures/seeded'
import { candidate, unknownFacts } from './fixtures/candidates.ts'
import { strategyNamed } from './table.ts'

const names = [...new Set([...routingStrategies, 'prefix-affinity'])]

test('every strategy that a config may name is there under its name', () => {
  for (const name of names) assert.equal(strategyNamed(name).name, name)
  assert.equal(strategyNamed('of tomorrow').name, 'simple-shuffle')
})

test('every strategy chooses one of the offered, whatever is offered, and nothing of nothing', () => {
  const random = seeded(11)
  const maybe = (value: number) => (random() < 0.5 ? null : value)
  for (const name of names) {
    const strategy = strategyNamed(name)
    assert.equal(strategy.choose([], unknownFacts, random), null)
    for (let round = 0; round < 300; round++) {
      const free = Array.from({ length: 1 + Math.floor(random() * 6) }, (_, index) =>
        candidate(`d${index}`, {
          slots: 8,
          inUse: Math.floor(random() * 8),
          affinity: Math.floor(random() * 3),
          weight: maybe(1 + random()),
          rpm: maybe(10),
          tpm: maybe(1_000),
          inputCostPerToken: maybe(random()),
          outputCostPerToken: maybe(random()),
          stats: {
            ttftMs: maybe(random() * 1_000),
            msPerToken: maybe(random() * 50),
            requestsLastMinute: Math.floor(random() * 20),
            tokensLastMinute: Math.floor(random() * 2_000),
          },
        }),
      )
      const choice = strategy.choose(free, { promptTokens: maybe(100), maxTokens: null }, random)
      assert.ok(choice !== null && free.includes(choice.candidate), name)
      assert.ok(choice.reason.startsWith(`${name}: ${choice.candidate.info.id}, `), choice.reason)
    }
  }
})
