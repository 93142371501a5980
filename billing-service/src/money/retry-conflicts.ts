// Transactions that got into each other's way are run again: the one that Postgres gave up did
// nothing, and the other one is over by then.
import { databaseErrorCode } from '../database-error.ts'

/** Deadlock, serialization failure. */
const conflicts = new Set(['40P01', '40001'])
const maxTries = 5

/** @param transaction one that can be repeated as a whole. @throws its last error. */
export async function retryConflicts<T>(transaction: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await transaction()
    } catch (error) {
      if (tries >= maxTries || !conflicts.has(databaseErrorCode(error) ?? '')) throw error
    }
  }
}
