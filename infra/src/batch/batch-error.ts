// What ends a command about batches, told to people: a message that says what to do, and its exit code.
// 0: all lines done, 1: some lines failed, 2: the batch failed or could not be run, 130: interrupted.

export const exitCodes = { done: 0, someFailed: 1, failed: 2, interrupted: 130 } as const
export type BatchExitCode = (typeof exitCodes)[keyof typeof exitCodes]

export class BatchError extends Error {
  readonly exitCode: BatchExitCode

  constructor(message: string, exitCode: BatchExitCode = exitCodes.failed, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = 'BatchError'
    this.exitCode = exitCode
  }
}

/** The user pressed Ctrl-C; what was submitted goes on. */
export class Interrupted extends BatchError {
  constructor() {
    super('Interrupted.', exitCodes.interrupted)
  }
}

/** @throws Interrupted */
export function refuseInterrupted(signal: AbortSignal): void {
  if (signal.aborted) throw new Interrupted()
}
