import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  excessOf,
  type Load,
  median,
  pairedRatio,
  type Round,
  tellingRounds,
  totalMicros,
  versusReport,
} from './versus-report.ts'

function load(requestsPerSecond: number, cpuMicros: Record<string, number>): Load {
  return { requestsPerSecond, p50: 32_000 / requestsPerSecond, cpuMicros }
}

/** The machine takes `drift` times as long for everything; this build needs a tenth more. */
function roundAt(drift: number): Round {
  return {
    ours: load(2_000 / drift, { gateway: 330 * drift, nats: 110 * drift }),
    theirs: load(2_200 / drift, { gateway: 300 * drift, nats: 100 * drift }),
  }
}

test('the median of an even count lies between both middles', () => {
  assert.equal(median([9, 1, 5]), 5)
  assert.equal(median([9, 1, 5, 2]), 3.5)
  assert.throws(() => median([]), RangeError)
})

test('a machine that drifts does not change the ratio of pairs', () => {
  const ratio = pairedRatio([1, 3, 2, 1.5].map(roundAt), totalMicros)
  assert.ok(ratio)
  const { higher, ...ratios } = ratio
  for (const value of Object.values(ratios)) assert.ok(Math.abs(value - 1.1) < 1e-9, `${value}`)
  assert.equal(higher, 4)
})

test('a ratio is the median of the ratios, not the ratio of the medians', () => {
  const perRequest = (ours: number, theirs: number): Round => ({
    ours: load(1, { gateway: ours }),
    theirs: load(1, { gateway: theirs }),
  })
  // The medians are 200 and 100.
  const rounds = [perRequest(100, 100), perRequest(200, 400), perRequest(300, 100)]
  const expected = { median: 1, lowest: 0.5, highest: 3, higher: 1 }
  assert.deepEqual(pairedRatio(rounds, totalMicros), expected)
})

test('as many rounds tell two builds apart as a table of the sign test says', () => {
  const table = { 5: null, 6: 6, 8: 8, 9: 8, 12: 10, 20: 15, 100: 61 }
  for (const [rounds, telling] of Object.entries(table)) {
    assert.equal(tellingRounds(Number(rounds)), telling, `${rounds} rounds`)
  }
})

test('what one build did not show in a round has no ratio', () => {
  const { ours } = roundAt(1)
  const rounds = [roundAt(1), { ours, theirs: load(2_000, {}) }]
  assert.equal(pairedRatio(rounds, totalMicros), null)
  assert.equal(pairedRatio([], totalMicros), null)
})

test('the median paired ratio of processor time decides, and the limit itself is allowed', () => {
  const rounds = [roundAt(1), roundAt(2)]
  const { median: found } = pairedRatio(rounds, totalMicros) ?? assert.fail()
  assert.equal(excessOf(rounds, found), null)
  assert.match(excessOf(rounds, 1.05) ?? '', /1\.100 times .* more than the 1\.05 of --at-most/)
  const { ours } = roundAt(1)
  assert.throws(() => excessOf([{ ours, theirs: load(1, {}) }], 2), /does not tell processor time/)
})

test('the report is aligned Markdown, the dearest part first', () => {
  const rounds = [1, 2, 1, 2, 1, 2].map(roundAt)
  for (const { ours } of rounds) ours.cpuMicros.launcher = 8
  assert.equal(
    versusReport(rounds),
    `
| median of the rounds           | this build | other build | this/other |      from … to | higher in |
| ------------------------------ | ---------: | ----------: | ---------: | -------------: | --------: |
| requests/s                     |      1,500 |       1,650 |      0.909 | 0.909 to 0.909 |    0 of 6 |
| p50, ms                        |       24.0 |        21.8 |      1.100 | 1.100 to 1.100 |    6 of 6 |
| processor time per request, µs |        668 |         600 |      1.115 | 1.110 to 1.120 |    6 of 6 |
| of it gateway                  |        495 |         450 |      1.100 | 1.100 to 1.100 |    6 of 6 |
| of it nats                     |        165 |         150 |      1.100 | 1.100 to 1.100 |    6 of 6 |
| of it launcher                 |          8 |           0 |          – |              – |         – |

this/other is the median of the ratios within each round, with the lowest and the highest.
Of two equal builds either one is the higher in 6 rounds or more once in 20 lines at most; fewer say nothing.
`.trim(),
  )
  assert.match(versusReport(rounds.slice(1)), /So few rounds cannot tell the builds apart\./)
})
