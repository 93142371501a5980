// Files in a directory: written under a temporary name, flushed to the disk, then renamed. A crash at
// any moment leaves the whole file, or none and a remainder in `.partial` for the sweeper.
import { randomUUID } from 'node:crypto'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { PenstockError } from '@penstock/shared/contracts/errors'
import {
  type ByteRange,
  bounded,
  checkedKey,
  noSuchBytes,
  type PutOptions,
  type Storage,
  storageFault,
} from './storage.ts'

/** Files are their owners' alone; other users of the machine do not read them. */
const fileMode = 0o600
const directoryMode = 0o700

/** @param directory absolute; made if it is not there. @throws Error that names it */
export async function openDiskStorage(directory: string): Promise<Storage> {
  const partial = join(directory, '.partial')
  const pathOf = (key: string) => join(directory, checkedKey(key))
  await mkdir(partial, { recursive: true, mode: directoryMode }).catch((cause) => {
    const reason = String(codeOf(cause))
    throw new Error(`The directory for files ${directory} cannot be made (${reason}).`, { cause })
  })

  async function put(key: string, source: AsyncIterable<Uint8Array>, { maxBytes }: PutOptions) {
    const path = pathOf(key)
    const temporary = join(partial, `${checkedKey(key)}.${randomUUID()}`)
    const file = await open(temporary, 'wx', fileMode).catch(fail)
    let bytes = 0
    try {
      const passing = bounded(source, maxBytes, (count) => {
        bytes = count
      })
      // Only what the disk does is the disk's fault: the source's errors pass as they are.
      for await (const chunk of passing) await file.writeFile(chunk).catch(fail)
      await file.sync().catch(fail)
      await file.close().catch(fail)
      await rename(temporary, path).catch(fail)
    } catch (error) {
      await file.close().catch(() => {})
      await unlink(temporary).catch(() => {})
      throw error
    }
    await flushNames(directory)
    return bytes
  }

  return {
    put,
    async read(key, range) {
      const path = pathOf(key)
      const file = await open(path, 'r').catch((error) => {
        throw isMissing(error) ? noSuchBytes(error) : fault(error)
      })
      return contentOf(file, range)
    },
    async size(key) {
      const found = await stat(pathOf(key)).catch((error) =>
        isMissing(error) ? null : fail(error),
      )
      return found === null ? null : found.size
    },
    async remove(key) {
      await rm(pathOf(key), { force: true }).catch(fail)
    },
    async sweep(before) {
      for (const name of await readdir(partial).catch(fail)) {
        const path = join(partial, name)
        // It may be renamed or gone by now.
        const found = await stat(path).catch(() => null)
        if (found !== null && found.mtimeMs < before) await rm(path, { force: true }).catch(fail)
      }
    },
    close() {},
  }
}

async function contentOf(file: FileHandle, range: ByteRange | undefined): Promise<Readable> {
  if (range === undefined) return file.createReadStream()
  if (range.end > range.start) {
    return file.createReadStream({ start: range.start, end: range.end - 1 })
  }
  await file.close()
  return Readable.from([])
}

/** The rename itself is on the disk only then. */
async function flushNames(directory: string): Promise<void> {
  const handle = await open(directory, 'r').catch(fail)
  try {
    await handle.sync().catch(fail)
  } finally {
    await handle.close()
  }
}

function codeOf(error: unknown): unknown {
  return typeof error === 'object' && error !== null && 'code' in error ? error.code : null
}

function isMissing(error: unknown): boolean {
  return codeOf(error) === 'ENOENT'
}

function fault(error: unknown): PenstockError {
  const code = codeOf(error)
  return storageFault(code === 'ENOSPC' || code === 'EDQUOT', error)
}

/** @throws PenstockError */
function fail(error: unknown): never {
  throw fault(error)
}
