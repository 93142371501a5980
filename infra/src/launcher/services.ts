// The five services as the launcher runs them: their flags, and what each one may know. Credentials
// travel in the environment, where other users of the machine do not see them.
import { secretVariable } from '../server-secret.ts'
import type { Settings } from '../settings.ts'

export interface ServiceCommand {
  /** The CLI's command. */
  name: string
  args: string[]
  env: NodeJS.ProcessEnv
}

export interface Plan {
  /** Of the gateway. */
  host: Settings['host']
  port: number
  configPath: string
  natsUrl: string
  databaseUrl: string
  /** Null: its limits are counted in the gateway, and the jobs of batches are in the database. */
  redisUrl: string | null
  /** Where uploaded files are: a path or an S3 URL. */
  files: string
  /** What the gateway hashes keys with. */
  secret: string
  env: NodeJS.ProcessEnv
}

/** Those that start without the database's tables, in the order they are stopped. */
export function servingCommands(plan: Plan): ServiceCommand[] {
  const config = ['--config', plan.configPath]
  const env = { ...plan.env, NATS_URL: plan.natsUrl }
  const listen = ['--host', plan.host, '--port', String(plan.port)]
  return [
    {
      name: 'gateway',
      args: [...config, ...listen],
      env: {
        ...env,
        ...batchEnv(plan),
        [secretVariable]: plan.secret,
      },
    },
    { name: 'router', args: config, env },
    { name: 'worker', args: config, env },
  ]
}

/** What files and batches need. */
function batchEnv({ databaseUrl, redisUrl, files }: Plan): NodeJS.ProcessEnv {
  return {
    DATABASE_URL: databaseUrl,
    ...(redisUrl === null ? {} : { REDIS_URL: redisUrl }),
    // The empty one counts as unset, whatever the launcher was given.
    ...(files.startsWith('s3://') ? { FILES_URL: files } : { FILES_DIR: files, FILES_URL: '' }),
  }
}

/** Started once the tables are there. */
export function batchCommand(plan: Plan): ServiceCommand {
  return {
    name: 'batch',
    args: ['--config', plan.configPath],
    env: {
      ...plan.env,
      ...batchEnv(plan),
      NATS_URL: plan.natsUrl,
      [secretVariable]: plan.secret,
    },
  }
}

export function migrateCommand(databaseUrl: string, env: NodeJS.ProcessEnv): ServiceCommand {
  return { name: 'migrate', args: [], env: { ...env, DATABASE_URL: databaseUrl } }
}

export function billingCommand(plan: Plan): ServiceCommand {
  return {
    name: 'billing',
    args: ['--config', plan.configPath],
    env: { ...plan.env, NATS_URL: plan.natsUrl, DATABASE_URL: plan.databaseUrl },
  }
}
