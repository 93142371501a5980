// The input file as it is uploaded: written to a temporary directory line by line, hashed as it is
// written, and held to the limits of a batch before a byte is sent.
import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { z } from 'zod'
import { BatchError } from './batch-error.ts'
import { byteLines, LineTooLong } from './byte-lines.ts'
import { completeLine, type Defaults, type Endpoint, LineFault } from './complete-line.ts'

/** Of one batch, as OpenAI limits them. */
export const maxLines = 50_000
export const maxBytes = 200_000_000
/** Faults named before it is given up. */
const shownFaults = 20

export interface PreparedFile {
  path: string
  /** That ask something: empty ones do not count. */
  lines: number
  bytes: number
  /** Of its content, in hex. */
  sha256: string
  endpoint: Endpoint
  remove(): Promise<void>
}

const systemError = z.object({ code: z.string() })

/**
 * Lines keep their numbers, empty ones too, so that what the gateway says about one is true of the input.
 * @throws BatchError naming the lines at fault, or the file
 */
export async function prepareFile(path: string, defaults: Defaults): Promise<PreparedFile> {
  let endpoint = defaults.endpoint
  const faults: string[] = []
  const completed = async function* () {
    let number = 0
    for await (const bytes of byteLines(createReadStream(path))) {
      number += 1
      try {
        const text = textOf(bytes)
        if (text.trim() === '') {
          yield emptyLine
          continue
        }
        const { endpoint: own, rewritten } = completeLine(text, number, defaults)
        endpoint ??= own
        if (own !== endpoint) throw new LineFault(`asks ${own}, where the batch asks ${endpoint}`)
        yield rewritten === null ? bytes : Buffer.from(rewritten)
      } catch (error) {
        if (!(error instanceof LineFault)) throw error
        faults.push(`Line ${number} ${error.message}.`)
        if (faults.length === shownFaults) break
      }
    }
  }
  const prepared = await writeLines(completed()).catch((error: unknown) => {
    if (error instanceof LineTooLong) throw new BatchError(error.message)
    const code = systemError.safeParse(error).data?.code
    if (code === undefined) throw error
    throw new BatchError(`${path} cannot be read (${code}).`, undefined, error)
  })
  if (faults.length === 0 && endpoint !== undefined) return { ...prepared, endpoint }
  await prepared.remove()
  if (faults.length === 0) throw new BatchError(`${path} has no lines.`)
  const more = faults.length === shownFaults ? '\n…' : ''
  throw new BatchError(`Nothing was submitted. ${path}:\n${faults.join('\n')}${more}`)
}

/**
 * @param lines without their ends; whatever it fails with leaves nothing behind
 * @throws BatchError beyond the limits of a batch
 */
export async function writeLines(
  lines: AsyncIterable<Uint8Array>,
): Promise<Omit<PreparedFile, 'endpoint'>> {
  const folder = await mkdtemp(join(tmpdir(), 'penstock-batch-'))
  const path = join(folder, 'input.jsonl')
  const remove = () => rm(folder, { recursive: true, force: true })
  const hash = createHash('sha256')
  let count = 0
  let bytes = 0
  const ended = async function* () {
    for await (const line of lines) {
      const whole = Buffer.concat([line, lineEnd])
      if (line.length > 0) count += 1
      bytes += whole.length
      if (count > maxLines) throw tooLarge(`more than ${maxLines} lines`)
      if (bytes > maxBytes) throw tooLarge(`more than ${maxBytes / 1_000_000} MB`)
      hash.update(whole)
      yield whole
    }
  }
  try {
    await pipeline(Readable.from(ended()), createWriteStream(path, { mode: 0o600 }))
  } catch (error) {
    await remove()
    throw error
  }
  return { path, lines: count, bytes, sha256: hash.digest('hex'), remove }
}

const lineEnd = Buffer.from('\n')
const emptyLine = Buffer.alloc(0)

function tooLarge(what: string): BatchError {
  return new BatchError(`Nothing was submitted: a batch may not have ${what}. Split the file.`)
}

/** @throws LineFault */
function textOf(bytes: Uint8Array): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new LineFault('is not valid UTF-8')
  }
}
