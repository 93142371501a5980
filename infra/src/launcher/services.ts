// The four services as the launcher runs them: their flags, and what each one may know. Credentials
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
  /** Null: its limits are counted in the gateway. */
  redisUrl: string | null
  /** What the gateway hashes keys with. */
  secret: string
  env: NodeJS.ProcessEnv
}

/** Those that need no database, in the order they are stopped. */
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
        [secretVariable]: plan.secret,
        ...(plan.redisUrl === null ? {} : { REDIS_URL: plan.redisUrl }),
      },
    },
    { name: 'router', args: config, env },
    { name: 'worker', args: config, env },
  ]
}

export function migrateCommand(databaseUrl: string, env: NodeJS.ProcessEnv): ServiceCommand {
  return { name: 'migrate', args: [], env: { ...env, DATABASE_URL: databaseUrl } }
}

export function billingCommand(
  plan: Omit<Plan, 'host' | 'port' | 'secret' | 'redisUrl'>,
  databaseUrl: string,
): ServiceCommand {
  return {
    name: 'billing',
    args: ['--config', plan.configPath],
    env: { ...plan.env, NATS_URL: plan.natsUrl, DATABASE_URL: databaseUrl },
  }
}
