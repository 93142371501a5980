// The answers of a batch about a folder, each written beside the file it is about: whole or not at all.
import { rename, utimes, writeFile } from 'node:fs/promises'
import { z } from 'zod'
import type { BatchApi } from './api.ts'
import { byteLines } from './byte-lines.ts'
import { errorText } from './download.ts'
import { answerPath, type FolderRules } from './folder.ts'

const outputLine = z.object({
  custom_id: z.string(),
  response: z.object({
    body: z.object({
      choices: z.array(z.object({ message: z.object({ content: z.string().nullish() }) })).min(1),
    }),
  }),
})

const customId = z.object({ custom_id: z.string() })

export interface Written {
  /** Files of the folder that the batch was about. */
  names: Set<string>
  written: number
  /** `name: why`, of the files that have no answer. */
  errors: string[]
}

interface Source {
  api: BatchApi
  rules: FolderRules
  signal: AbortSignal
  /** Epoch milliseconds: when the texts were read. A text changed since is newer than its answer. */
  readAt: number
}

/** Adds what the output file holds. Doing it twice does no harm. @throws ApiError, Interrupted */
export async function writeAnswers(
  { api, rules, signal, readAt }: Source,
  fileId: string,
  into: Written,
): Promise<void> {
  for await (const bytes of byteLines(await api.content(fileId, signal))) {
    const value: unknown = JSON.parse(Buffer.from(bytes).toString('utf8'))
    const { custom_id: name } = customId.parse(value)
    into.names.add(name)
    const content = outputLine.safeParse(value).data?.response.body.choices[0]?.message.content
    const path = answerPath(rules, name)
    if (content == null || content.trim() === '' || path === null) {
      into.errors.push(`${name}: the answer has no text`)
      continue
    }
    const temporary = `${path}.part`
    try {
      await writeFile(temporary, content.endsWith('\n') ? content : `${content}\n`)
      await utimes(temporary, new Date(), new Date(readAt))
      await rename(temporary, path)
      into.written += 1
    } catch (error) {
      // Its folder was moved away, for one; the other answers are still wanted.
      into.errors.push(`${name}: ${error instanceof Error ? error.message : 'cannot be written'}`)
    }
  }
}

/** Adds what the error file holds. @throws ApiError, Interrupted */
export async function readErrors(
  { api, signal }: Source,
  fileId: string,
  into: Written,
): Promise<void> {
  for await (const bytes of byteLines(await api.content(fileId, signal))) {
    const line = Buffer.from(bytes).toString('utf8')
    into.names.add(customId.parse(JSON.parse(line)).custom_id)
    into.errors.push(errorText(line))
  }
}
