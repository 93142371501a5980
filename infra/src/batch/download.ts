// A file of the gateway into one of this machine: streamed, and in place only when it is whole.
import { createReadStream } from 'node:fs'
import { open, rename, rm } from 'node:fs/promises'
import { z } from 'zod'
import type { BatchApi } from './api.ts'
import { byteLines } from './byte-lines.ts'
import { patiently } from './follow.ts'
import type { Progress } from './progress.ts'

/**
 * @param fileId null: there is nothing to fetch, and the file becomes empty
 * @throws ApiError, Interrupted, or of the file system; what stood at `path` stays then
 */
export async function download(
  api: BatchApi,
  fileId: string | null,
  path: string,
  progress: Progress,
  signal: AbortSignal,
): Promise<void> {
  const temporary = `${path}.part`
  try {
    await patiently(() => fetchInto(api, fileId, temporary, signal), progress, signal)
    await rename(temporary, path)
  } finally {
    await rm(temporary, { force: true })
  }
}

async function fetchInto(
  api: BatchApi,
  fileId: string | null,
  path: string,
  signal: AbortSignal,
): Promise<void> {
  const file = await open(path, 'w')
  try {
    if (fileId !== null) {
      for await (const chunk of await api.content(fileId, signal)) await file.writeFile(chunk)
    }
    await file.sync()
  } finally {
    await file.close()
  }
}

const errorLine = z.object({
  custom_id: z.string(),
  error: z.object({ message: z.string() }).nullish(),
  response: z
    .object({ body: z.object({ error: z.object({ message: z.string() }) }) })
    .nullish()
    .catch(null),
})

/** `custom_id: why` of the first lines of an error file. */
export async function firstErrors(path: string, most: number): Promise<string[]> {
  const errors: string[] = []
  for await (const bytes of byteLines(createReadStream(path))) {
    errors.push(errorText(Buffer.from(bytes).toString('utf8')))
    if (errors.length >= most) break
  }
  return errors
}

/** @param line of an error file */
export function errorText(line: string): string {
  const { custom_id, error, response } = errorLine.parse(JSON.parse(line))
  const message = error?.message ?? response?.body.error.message ?? 'failed'
  return `${custom_id}: ${message.slice(0, 500)}`
}
