import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createOpenLanes } from './open-lanes.ts'

test('it answers as a look at each would, and looks at few', () => {
  const limits: Record<string, number> = { a: 300, b: 0, c: 2_000 }
  const lanes = createOpenLanes()
  let looks = 0
  for (let i = 0; i < 3_000; i++) {
    const size = (i * 7_919) % 1_009
    for (const [lane, limit] of Object.entries(limits)) {
      const look = () => {
        looks += 1
        return size <= limit
      }
      assert.equal(lanes.isOpen(lane, size, look), size <= limit, `${size} in ${lane}`)
    }
  }
  assert.ok(looks < 60, `${looks} looks`)
})
