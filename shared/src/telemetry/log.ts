// Structured logs: one JSON object a line on stdout, every line of a request with its ids. Prompts,
// replies and keys are never logged; there is no field for them to be put in.
import pino, { type Logger } from 'pino'

export type { Logger }

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/**
 * The level comes from PENSTOCK_LOG_LEVEL (`info` if unset). Lines are written in blocks, at the
 * latest 200 ms after they were logged, so that logging costs the hot path next to nothing.
 * @throws Error if the level is none of pino's.
 */
export function createLogger(service: string, env: NodeJS.ProcessEnv = process.env): Logger {
  const level = env.PENSTOCK_LOG_LEVEL ?? 'info'
  if (!levels.includes(level)) {
    throw new Error(`PENSTOCK_LOG_LEVEL: expected one of ${levels.join(', ')}, got "${level}"`)
  }
  const destination = pino.destination({
    dest: 1,
    sync: false,
    minLength: 8192,
    periodicFlush: 200,
  })
  // pino calls it at a fatal line and at the exit, and on a pipe that nobody reads any more
  // sonic-boom's never returns. Whoever ends the process calls `flushLogs` instead.
  destination.flushSync = () => {}
  return pino({ level, base: { service }, timestamp: pino.stdTimeFunctions.isoTime }, destination)
}

/** Writes out what is buffered; call before the process exits. */
export function flushLogs(log: Logger): Promise<void> {
  return new Promise((resolve) => log.flush(() => resolve()))
}
