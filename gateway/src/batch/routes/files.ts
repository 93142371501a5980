// OpenAI's /v1/files (https://platform.openai.com/docs/api-reference/files): uploads go straight to the
// storage, contents come straight from it, whole or by range.
import { pipeline } from 'node:stream/promises'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { parseFields } from '@penstock/shared/parse-fields'
import type { Request, RequestHandler, Response } from 'express'
import { z } from 'zod'
import type { Gateway } from '../../gateway.ts'
import { parseQuery } from '../../schemas.ts'
import { readUpload } from '../read-upload.ts'
import { discard } from '../remove-files.ts'
import { askDatabase, type FileRow } from '../store/database.ts'
import {
  beginFile,
  completeFile,
  fileObjectOf,
  findFile,
  listFiles,
  markRemoved,
  newFileId,
} from '../store/files.ts'
import { type Asker, type BatchAccess, batchRoute, listObject } from './batch-route.ts'
import { parseRange } from './byte-range.ts'

/** The largest file taken, in bytes (200 MB, as at OpenAI for batches). */
export const maxFileBytes = 200_000_000
/** What the form around the file may take. */
const maxFormBytes = 64 * 1024
/** A refused upload is read on for so long, so that its client, which writes before it reads, gets to
 *  see why; in milliseconds. */
const discardLimitMs = 10_000

const purposes = ['batch', 'user_data', 'assistants', 'vision', 'fine-tune', 'evals'] as const

const anchor = 'expires_after[anchor]'
const seconds = 'expires_after[seconds]'
const uploadFields = z
  .object({
    purpose: z.enum(purposes, `expected one of ${purposes.join(', ')}`),
    [anchor]: z.literal('created_at').optional(),
    [seconds]: z.coerce.number().int().min(3_600).max(2_592_000).optional(),
  })
  .refine((form) => Object.hasOwn(form, anchor) === Object.hasOwn(form, seconds), {
    error: 'expected an anchor and seconds',
    path: ['expires_after'],
  })
const listQuery = z.object({
  limit: z.coerce.number().int().min(1).max(10_000).default(10_000),
  order: z.enum(['asc', 'desc']).default('desc'),
  after: z.string().max(128).optional(),
  purpose: z.string().max(64).optional(),
})

export function createFile(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, access, asker) => {
    try {
      const row = await upload(req, access, asker)
      const { correlationId } = res.locals
      const { file_id: fileId, bytes } = row
      gateway.log.info({ correlationId, fileId, bytes: Number(bytes) }, 'file uploaded')
      res.json(fileObjectOf(row))
    } catch (error) {
      stopReadingSoon(req)
      throw error
    }
  })
}

/** Whatever fails, nothing of it is left behind; what a crash leaves, the sweeper finds. */
async function upload(req: Request, access: BatchAccess, { owner }: Asker): Promise<FileRow> {
  const { db, storage } = access
  if (Number(req.headers['content-length'] ?? 0) > maxFileBytes + maxFormBytes) {
    const message = `The file is larger than ${maxFileBytes / 1_000_000} MB.`
    throw new PenstockError('request_too_large', message, { param: 'file' })
  }
  const fileId = newFileId()
  await askDatabase(beginFile(db, fileId, owner))
  try {
    const { fields, filename, bytes } = await readUpload(req, (file) =>
      storage.put(fileId, file, { maxBytes: maxFileBytes }),
    )
    const form = parseFields(uploadFields, fields, 'form')
    if (bytes === 0) {
      throw new PenstockError('invalid_request', 'The file is empty.', { param: 'file' })
    }
    const lifetime = form[seconds]
    const expiresAt = lifetime === undefined ? null : new Date(Date.now() + lifetime * 1_000)
    const name = filename.slice(0, 512).toWellFormed().replaceAll('\0', '') || fileId
    const written = { purpose: form.purpose, filename: name, bytes, expiresAt }
    const row = await askDatabase(completeFile(db, fileId, written))
    if (row !== null) return row
    throw new PenstockError('deadline_exceeded', 'The upload took too long.')
  } catch (error) {
    // Where this fails too, the sweeper has it.
    await discard(access, fileId).catch(() => {})
    throw error
  }
}

function stopReadingSoon(req: Request): void {
  if (req.complete || req.destroyed) return
  // Once it is answered, a request no longer hears that its connection closed.
  const { socket } = req
  const done = () => {
    clearTimeout(limit)
    req.off('end', done)
    socket.off('close', done)
  }
  const limit = setTimeout(() => socket.destroy(), discardLimitMs)
  req.on('end', done)
  socket.on('close', done)
  req.resume()
}

export function getFiles(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, { db }, { sees }) => {
    const { limit, order, after = null, purpose = null } = parseQuery(listQuery, req.query)
    const rows = await askDatabase(listFiles(db, sees, { limit, order, after, purpose }))
    res.json(listObject(rows, limit, fileObjectOf))
  })
}

export function getFile(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, access, asker) => {
    res.json(fileObjectOf(await fileOf(req, access, asker)))
  })
}

export function deleteFile(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, access, { sees }) => {
    const id = String(req.params.file_id)
    const outcome = await askDatabase(markRemoved(access.db, id, sees))
    if (outcome === 'missing') throw noSuchFile(id)
    if (outcome === 'used') {
      const message = `The file \`${id}\` is the input of a batch that is still running: cancel it first.`
      throw new PenstockError('conflict', message, { param: 'file_id' })
    }
    // It is gone for everybody; should this fail, the sweeper has its bytes.
    await discard(access, id).catch((err) => gateway.log.warn({ err, id }, 'file not yet removed'))
    res.json({ id, object: 'file', deleted: true })
  })
}

export function getFileContent(gateway: Gateway): RequestHandler {
  return batchRoute(gateway, async (req, res, access, asker) => {
    const file = await fileOf(req, access, asker)
    await sendContent(req, res, access, file).catch((error) => {
      // The head is out: all that can be said is that the rest does not come.
      if (!res.headersSent) throw error
      res.destroy()
    })
  })
}

async function sendContent(
  req: Request,
  res: Response,
  { storage }: BatchAccess,
  file: FileRow,
): Promise<void> {
  const bytes = Number(file.bytes)
  const range = parseRange(req.headers.range, bytes)
  res.setHeader('accept-ranges', 'bytes')
  if (range === 'unsatisfiable') {
    res.setHeader('content-range', `bytes */${bytes}`)
    const message = `The file has ${bytes} bytes: nothing of it is in the range.`
    throw new PenstockError('invalid_request', message, { status: 416, param: 'range' })
  }
  const { start, end } = range ?? { start: 0, end: bytes }
  const isAsked = req.method !== 'HEAD'
  const content = isAsked ? await storage.read(file.file_id, { start, end }) : null
  res.attachment(file.filename)
  res.setHeader('content-type', 'application/octet-stream')
  res.setHeader('content-length', end - start)
  if (range !== null) {
    res.status(206).setHeader('content-range', `bytes ${start}-${end - 1}/${bytes}`)
  }
  if (content === null) res.end()
  else await pipeline(content, res)
}

async function fileOf(req: Request, { db }: BatchAccess, { sees }: Asker): Promise<FileRow> {
  const id = String(req.params.file_id)
  const file = await askDatabase(findFile(db, id, sees))
  if (file === null) throw noSuchFile(id)
  return file
}

function noSuchFile(id: string): PenstockError {
  const message = `There is no file \`${id.slice(0, 128)}\`.`
  return new PenstockError('not_found', message, { param: 'file_id' })
}
