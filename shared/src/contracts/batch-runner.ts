// What the gateway and the runners of batches tell each other besides what stands in the tables.
import { z } from 'zod'

export const batchChanged = z.object({ batchId: z.string() })

const count = z.int().min(0)

/** Of one runner, since it was started; `all`: of everybody's batches, as it read them last. */
export const batchReport = z.object({
  runnerId: z.string(),
  running: count,
  completed: count,
  failed: count,
  all: z.object({
    waiting: count,
    deadLetters: count,
    linesPerSecond: z.number().min(0),
    /** Epoch seconds at which the last line should be done; null: nothing runs, or nobody can say. */
    finishedAt: count.nullable(),
  }),
})
export type BatchReport = z.infer<typeof batchReport>
