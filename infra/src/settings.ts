// The CLI's flags and their variables, checked: every fault is named after the flag or the variable
// it came from. Values are not repeated where they may hold a password.
import { join, resolve } from 'node:path'
import { z } from 'zod'

export interface Settings {
  /** Absolute; null where none was given. */
  config: string | null
  natsUrl: string | null
  databaseUrl: string | null
  redisUrl: string | null
  host: string
  /** 0: any free one. */
  port: number
  /** Absolute. */
  dataDir: string
  /** Where uploaded files are: an absolute path, or `s3://bucket/prefix`. */
  files: string
  /** Servers whose models are served, whatever they are. */
  backends: readonly string[]
  /** Slots of each of these models; null: the provider's default. */
  slots: number | null
  /** How long running jobs may go on after a stop, in milliseconds; null: the part's default. */
  drainMs: number | null
  /** Look and say, but change nothing. */
  dryRun: boolean
}

interface Flag {
  /** As commander takes it. */
  option: string
  meaning: string
  /** Stands in for the flag. */
  variable?: string
  /** Shown in the help. */
  byDefault?: string
}

export type FlagName =
  | 'config'
  | 'nats'
  | 'database'
  | 'redis'
  | 'host'
  | 'port'
  | 'dataDir'
  | 'filesDir'
  | 'filesUrl'
  | 'backend'
  | 'slots'
  | 'drain'
  | 'dryRun'

export const flags: Record<FlagName, Flag> = {
  config: {
    option: '--config <file>',
    meaning: 'a LiteLLM config.yaml',
    variable: 'PENSTOCK_CONFIG',
  },
  nats: {
    option: '--nats <url>',
    meaning: 'the NATS server, several separated by commas',
    variable: 'NATS_URL',
  },
  database: {
    option: '--database <url>',
    meaning: 'the PostgreSQL database',
    variable: 'DATABASE_URL',
  },
  redis: {
    option: '--redis <url>',
    meaning:
      'the Redis for the limits of keys, counted by several gateways, and for the jobs of batches',
    variable: 'REDIS_URL',
  },
  host: { option: '--host <address>', meaning: 'where to listen', byDefault: '127.0.0.1' },
  port: {
    option: '--port <number>',
    meaning: 'where to listen; 0 takes any free port',
    byDefault: '4000',
  },
  dataDir: {
    option: '--data-dir <directory>',
    meaning: 'where the embedded servers, the logs and the secret of the keys are',
    variable: 'PENSTOCK_DATA_DIR',
    byDefault: '.penstock',
  },
  filesDir: {
    option: '--files-dir <directory>',
    meaning: 'where uploaded files and the results of batches are',
    variable: 'FILES_DIR',
    byDefault: 'files in --data-dir',
  },
  filesUrl: {
    option: '--files-url <url>',
    meaning: 'the same in an S3 bucket (AWS_ENDPOINT_URL: in another server than AWS)',
    variable: 'FILES_URL',
  },
  backend: {
    option: '--backend <url...>',
    meaning: 'serve all models of this model server, found out by asking it; may be repeated',
    variable: 'PENSTOCK_BACKEND',
  },
  slots: {
    option: '--slots <number>',
    meaning: 'concurrent calls to each model of a --backend',
    variable: 'PENSTOCK_SLOTS',
    byDefault: "the provider's",
  },
  drain: {
    option: '--drain <seconds>',
    meaning: 'how long running calls may go on after a stop',
    variable: 'PENSTOCK_DRAIN',
    byDefault: '7',
  },
  dryRun: { option: '--dry-run', meaning: 'report only, change nothing' },
}

export class UsageError extends Error {
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join('\n'))
    this.name = 'UsageError'
    this.problems = problems
  }
}

const natsServer = /^(nats|tls|wss?):\/\/[^/]/
const text = z.string().trim().min(1, 'must not be empty')

/** Without credentials: the address stands in process lists, logs and the ledger. */
const backend = z.string().refine(
  (value) => {
    const url = URL.parse(value)
    if (url === null || !/^https?:$/.test(url.protocol)) return false
    return [url.username, url.password, url.search, url.hash].every((part) => part === '')
  },
  { error: 'must be a URL like http://127.0.0.1:11434, without a password' },
)
/** A variable holds several separated by commas. */
const listOf = (value: unknown) =>
  typeof value === 'string' ? value.split(',').map((part) => part.trim()) : value

const numberIn = (least: number, most: number) => {
  const error = `must be a number from ${least} to ${most}`
  return z
    .string()
    .regex(/^\d{1,9}$/, error)
    .transform(Number)
    .refine((number) => number >= least && number <= most, { error })
}

const settings = z.object({
  config: text.optional(),
  nats: text
    .refine((value) => value.split(',').every((url) => natsServer.test(url.trim())), {
      error: 'must be a URL like nats://host:4222 (several: separated by commas)',
    })
    .optional(),
  database: text
    .regex(/^postgres(ql)?:\/\//, 'must be a URL like postgres://user:password@host:5432/database')
    .optional(),
  redis: text
    .refine((value) => /^rediss?:\/\/[^/]/.test(value) && URL.canParse(value), {
      error: 'must be a URL like redis://user:password@host:6379/0',
    })
    .optional(),
  host: text.default('127.0.0.1'),
  port: numberIn(0, 65_535).default(4000),
  dataDir: text.default('.penstock'),
  filesDir: text.optional(),
  filesUrl: text
    .regex(
      /^s3:\/\/[a-z0-9][a-z0-9.-]+(\/[\w.!*'()/-]*)?$/,
      'must be a URL like s3://bucket/prefix',
    )
    .optional(),
  backend: z.preprocess(listOf, z.array(backend)).optional(),
  slots: numberIn(1, 10_000).optional(),
  drain: numberIn(0, 86_400).optional(),
  dryRun: z.boolean().default(false),
})

/**
 * @param given the flags of the command line; a flag wins over its variable, and an empty variable
 *   counts as unset
 * @throws UsageError with one line per fault
 */
export function parseSettings(given: Record<string, unknown>, env: NodeJS.ProcessEnv): Settings {
  const values = Object.entries(flags).map(([name, { variable }]) => {
    const fromEnv = variable === undefined ? undefined : env[variable]
    return [name, given[name] ?? (fromEnv === '' ? undefined : fromEnv)]
  })
  const parsed = settings.safeParse(Object.fromEntries(values))
  if (!parsed.success) {
    throw new UsageError(
      parsed.error.issues.map(({ path, message }) => `${sourceOf(path[0], given)} ${message}`),
    )
  }
  const { config, nats, database, redis, host, port, dataDir, backend, slots, drain } = parsed.data
  return {
    config: config === undefined ? null : resolve(config),
    natsUrl: nats ?? null,
    databaseUrl: database ?? null,
    redisUrl: redis ?? null,
    host,
    port,
    dataDir: resolve(dataDir),
    files: filesOf(parsed.data, given),
    backends: [...new Set(backend)],
    slots: slots ?? null,
    drainMs: drain === undefined ? null : drain * 1_000,
    dryRun: parsed.data.dryRun,
  }
}

/** A flag for the directory wins over a variable for the bucket. */
function filesOf(
  { filesDir, filesUrl, dataDir }: z.output<typeof settings>,
  given: Record<string, unknown>,
): string {
  const isDirectory = given.filesDir !== undefined && given.filesUrl === undefined
  if (filesUrl !== undefined && !isDirectory) return filesUrl
  return resolve(filesDir ?? join(dataDir, 'files'))
}

/** `--port`, or the variable's name where the value came from there. */
function sourceOf(name: PropertyKey | undefined, given: Record<string, unknown>): string {
  const flag = Object.entries(flags).find(([key]) => key === name)?.[1]
  if (flag === undefined) return String(name)
  const { option, variable } = flag
  return variable !== undefined && given[String(name)] === undefined ? variable : wordOf(option)
}

function wordOf(option: string): string {
  return option.split(' ')[0] ?? option
}

/** For messages: `--nats (or NATS_URL) is missing`. */
export function missing(name: FlagName): UsageError {
  const { option, variable } = flags[name]
  const alternative = variable === undefined ? '' : ` (or ${variable})`
  return new UsageError([`${wordOf(option)}${alternative} is missing`])
}
