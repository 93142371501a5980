// The command line of versus.ts, and the other clone that it names.
import { realpath } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { z } from 'zod'
import type { startPenstock } from './penstock.ts'

export const usage =
  'usage: node test/bench/versus.ts OTHER_CLONE [--connections N] [--rounds N] [--seconds N] [--at-most RATIO]'

/** Penstock is given no more slots than this by the bench's config: more clients would wait. */
const maxConnections = 512

export interface Options {
  otherClone: string
  connections: number
  rounds: number
  seconds: number
  /** The most processor time per request, as a multiple of the other build's; null: any. */
  atMost: number | null
}

export type StartPenstock = typeof startPenstock

const values = z.object({
  connections: wholeNumber(1, maxConnections).default(32),
  rounds: wholeNumber(1, 100).default(12),
  seconds: wholeNumber(1, 60).default(3),
  'at-most': ratio().nullable().default(null),
})

function wholeNumber(least: number, most: number) {
  const error = `must be a whole number from ${least} to ${most}`
  return z
    .string()
    .regex(/^\d+$/, error)
    .transform(Number)
    .pipe(z.int(error).min(least, error).max(most, error))
}

function ratio() {
  const error = 'must be a number above 0 and at most 100, such as 1.1'
  return z
    .string()
    .regex(/^\d+(\.\d+)?$/, error)
    .transform(Number)
    .pipe(z.number(error).positive(error).max(100, error))
}

/** @throws Error for people */
export function parseOptions(args: readonly string[]): Options {
  const given = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      connections: { type: 'string' },
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      'at-most': { type: 'string' },
    },
  })
  const [otherClone, ...more] = given.positionals
  if (otherClone === undefined) throw new Error('OTHER_CLONE is missing')
  if (more.length > 0) throw new Error(`only one OTHER_CLONE can be compared, not also ${more}`)
  const parsed = values.safeParse(given.values)
  if (!parsed.success) {
    const reasons = parsed.error.issues.map(({ path, message }) => `--${path.join('.')} ${message}`)
    throw new Error(reasons.join('\n'))
  }
  const { 'at-most': atMost, ...numbers } = parsed.data
  return { otherClone: resolve(otherClone), atMost, ...numbers }
}

const benchModule = z.object({
  startPenstock: z.custom<StartPenstock>((value) => typeof value === 'function'),
})

/** @throws Error for people if there is no installed clone of Penstock */
export async function startOf(clone: string): Promise<StartPenstock> {
  const wrong = (reason: string) => new Error(`OTHER_CLONE ${clone}: ${reason}`)
  const pathIn = (path: string) => realpath(join(clone, path)).catch(() => null)
  if ((await pathIn('.')) === null) throw wrong('there is no such directory')
  const file = await pathIn('test/bench/penstock.ts')
  if (file === null) throw wrong('no clone of Penstock with test/bench/penstock.ts')
  const installed = await pathIn('node_modules/@penstock/infra')
  if (installed === null) throw wrong('its node_modules are missing: run `npm install` there')
  // Else it would run with another clone's code.
  if (installed !== (await pathIn('infra'))) throw wrong('its node_modules belong to another clone')
  const loaded: unknown = await import(pathToFileURL(file).href).catch((error: unknown) => {
    throw wrong(messageOf(error))
  })
  const found = benchModule.safeParse(loaded)
  if (!found.success) throw wrong('its test/bench/penstock.ts has no startPenstock')
  return found.data.startPenstock
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
