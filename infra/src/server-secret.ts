// The secret that a gateway hashes keys with. Lost or changed, no key that was made with it is known
// any longer, so it lies in the data directory where the environment does not say it.
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { readOrCreateSecret } from './servers/secret-file.ts'
import { UsageError } from './settings.ts'

export const secretVariable = 'PENSTOCK_SECRET'

/** Shorter ones can be guessed by whoever has the database. */
const minLength = 16

export interface ServerSecret {
  secret: string
  /** Of the data directory; null: from the environment. */
  path: string | null
}

/** @throws UsageError, without the secret, if it is too short */
export async function serverSecret(env: NodeJS.ProcessEnv, dataDir: string): Promise<ServerSecret> {
  const given = env[secretVariable]
  if (given !== undefined && given !== '') {
    if (given.length >= minLength) return { secret: given, path: null }
    throw new UsageError([`${secretVariable} must have at least ${minLength} characters`])
  }
  await mkdir(dataDir, { recursive: true, mode: 0o700 })
  const path = join(dataDir, 'secret')
  return { secret: await readOrCreateSecret(path), path }
}
