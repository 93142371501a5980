// Generated secrets: passwords of the embedded servers, and the server's own. One file each, readable
// by its owner alone.
import { randomBytes, randomUUID } from 'node:crypto'
import { link, readFile, rm, writeFile } from 'node:fs/promises'

const secretBytes = 32

/**
 * @returns the secret in the file, in hexadecimal; a new one where there is none. Whoever else makes
 *   it at the same time gets the same.
 */
export async function readOrCreateSecret(path: string): Promise<string> {
  const found = await readSecret(path)
  if (found !== null) return found
  const written = `${path}.${randomUUID()}`
  try {
    await writeFile(written, randomBytes(secretBytes).toString('hex'), { mode: 0o600 })
    // Appears whole or not at all, and never in the place of another.
    await link(written, path)
  } catch (error) {
    if (!isError(error, 'EEXIST')) throw error
  } finally {
    await rm(written, { force: true })
  }
  const made = await readSecret(path)
  if (made === null) throw new Error(`${path} is empty: remove it, and a new secret is made.`)
  return made
}

/** Null where there is no file, or nothing in it. */
async function readSecret(path: string): Promise<string | null> {
  try {
    return (await readFile(path, 'utf8')).trim() || null
  } catch (error) {
    if (isError(error, 'ENOENT')) return null
    throw error
  }
}

function isError(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
