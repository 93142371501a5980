// Reads a multipart upload as it comes: the file's bytes go to whoever stores them, the few fields
// around them are kept. Neither waits for the other, because clients send them in any order.
import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { PenstockError } from '@penstock/shared/contracts/errors'
import busboy from 'busboy'

const limits = { files: 1, fields: 20, fieldSize: 4_096, parts: 24, headerPairs: 50 }
/** An upload whose client says nothing for so long is given up, in milliseconds. */
const silenceLimitMs = 60_000

export interface Upload {
  fields: Record<string, string>
  /** The same in the form's order, with those that came several times. */
  entries: [name: string, value: string][]
  /** As the client calls it; empty where it does not. */
  filename: string
  contentType: string
  bytes: number
}

/**
 * @param store what takes the bytes of the part `file`; it throws to refuse them, and the upload ends
 *   with its error at once
 * @throws PenstockError `invalid_request` (no multipart, broken, no file, two of them);
 *   `client_closed_request`; whatever `store` throws
 */
export async function readUpload(
  req: IncomingMessage,
  store: (file: Readable) => Promise<number>,
): Promise<Upload> {
  const parser = parserOf(req)
  const fields: Record<string, string> = {}
  const entries: Upload['entries'] = []
  let filename = ''
  let contentType = ''
  let storing = null as Promise<number> | null
  let onFault: (error: unknown) => void = () => {}
  const faulty = new Promise<never>((_, reject) => {
    onFault = reject
  })
  const ended = new Promise<void>((resolve) => parser.once('close', resolve))
  parser.on('field', (name, value, { valueTruncated }) => {
    if (valueTruncated) onFault(refused(`The field ${name} is too long.`, name))
    fields[name] = value
    entries.push([name, value])
  })
  parser.on('file', (name, file, info) => {
    // It fails with the parser, whoever reads it by then.
    file.on('error', () => {})
    if (name !== 'file') {
      file.resume()
      onFault(refused('The form has a file under another name than `file`.', name))
      return
    }
    filename = info.filename ?? ''
    contentType = info.mimeType
    storing = store(file)
    storing.catch(onFault)
  })
  for (const event of ['filesLimit', 'fieldsLimit', 'partsLimit'] as const) {
    parser.on(event, () =>
      onFault(refused('The form has more parts than one file and its fields.')),
    )
  }
  parser.on('error', (cause) => onFault(refused('The form is broken or incomplete.', null, cause)))
  const onClose = () => {
    if (!req.complete) onFault(brokenOff())
  }
  req.on('close', onClose)
  req.on('error', (cause) => onFault(brokenOff(cause)))
  req.setTimeout(silenceLimitMs, () => req.destroy())
  // Its client may have left while it was found out who that is.
  if (req.destroyed) onFault(brokenOff())
  req.pipe(parser)
  try {
    await Promise.race([faulty, ended])
    req.setTimeout(0)
    if (storing === null) throw refused('The form has no file: send it as `file`.', 'file')
    return { fields, entries, filename, contentType, bytes: await Promise.race([faulty, storing]) }
  } catch (error) {
    req.unpipe(parser)
    req.resume()
    parser.destroy()
    // What was stored of it is taken back before anybody is told.
    await Promise.resolve(storing).catch(() => {})
    throw error
  } finally {
    req.off('close', onClose)
  }
}

function parserOf({ headers }: IncomingMessage): busboy.Busboy {
  if (headers['content-type']?.toLowerCase().startsWith('multipart/form-data') !== true) {
    const message = 'Send the file as multipart/form-data.'
    throw new PenstockError('invalid_request', message, { status: 415 })
  }
  try {
    return busboy({ headers, limits, defParamCharset: 'utf8' })
  } catch (cause) {
    throw refused('The content-type names no boundary.', null, cause)
  }
}

function refused(message: string, param: string | null = null, cause?: unknown): PenstockError {
  return new PenstockError('invalid_request', message, { param, cause })
}

function brokenOff(cause?: unknown): PenstockError {
  return new PenstockError('client_closed_request', 'The upload broke off.', { cause })
}
