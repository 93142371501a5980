// The gateway's files and batches over HTTP, as a command line needs them: streamed both ways, every
// answer checked, every failure with what to do about it. The key leaves only in the header.
import { openAsBlob } from 'node:fs'
import {
  type BatchObject,
  batchObject,
  type createBatchRequest,
  type FileObject,
  fileObject,
} from '@penstock/shared/contracts/batches'
import { z } from 'zod'
import { ApiError, answered, unanswered, unreadable } from './api-error.ts'
import { Interrupted } from './batch-error.ts'

export type BatchAction = 'cancel' | 'pause' | 'resume' | 'retry'

export interface Page {
  batches: BatchObject[]
  hasMore: boolean
}

/** All methods throw ApiError, and Interrupted once their signal is. */
export interface BatchApi {
  /** @throws ApiError, naming the models there are where this one is not */
  checkModel(model: string): Promise<void>
  upload(path: string, filename: string, signal: AbortSignal): Promise<FileObject>
  create(request: z.input<typeof createBatchRequest>): Promise<BatchObject>
  batch(id: string): Promise<BatchObject>
  /** Newest first. */
  list(options: { limit: number; after?: string }): Promise<Page>
  act(id: string, action: BatchAction): Promise<BatchObject>
  /** The bytes of a file; a stream that breaks off throws. */
  content(fileId: string, signal: AbortSignal): Promise<AsyncIterable<Uint8Array>>
}

const callLimitMs = 60_000
/** 200 MB over a slow line. */
const transferLimitMs = 3_600_000
/** Models named where the asked one is not there. */
const shownModels = 20

const batchPage = z.object({ data: z.array(batchObject), has_more: z.boolean() })
const modelPage = z.object({ data: z.array(z.object({ id: z.string() })) })

export function createBatchApi({ url, key }: { url: string; key?: string | undefined }): BatchApi {
  const authorization: Record<string, string> =
    key === undefined ? {} : { authorization: `Bearer ${key}` }

  const send = async (path: string, init: RequestInit, limitMs = callLimitMs) => {
    const limit = AbortSignal.timeout(limitMs)
    const signal = init.signal == null ? limit : AbortSignal.any([limit, init.signal])
    const headers = { ...authorization, ...(init.body instanceof FormData ? {} : json) }
    let response: Response
    try {
      response = await fetch(`${url}/v1${path}`, { ...init, headers, signal })
    } catch (cause) {
      if (init.signal?.aborted) throw new Interrupted()
      throw unanswered(url, cause)
    }
    if (!response.ok) throw await answered(response, url, key !== undefined)
    return response
  }
  const ask = async <S extends z.ZodType>(
    schema: S,
    path: string,
    init: RequestInit = {},
    limitMs?: number,
  ): Promise<z.output<S>> => {
    const response = await send(path, init, limitMs)
    const body: unknown = await response.json().catch((cause: unknown) => {
      throw unanswered(url, cause)
    })
    const parsed = schema.safeParse(body)
    if (!parsed.success) throw unreadable(url, parsed.error)
    return parsed.data
  }
  const post = (body: object): RequestInit => ({ method: 'POST', body: JSON.stringify(body) })
  const pathOf = (id: string) => `/batches/${encodeURIComponent(id)}`

  return {
    async checkModel(model) {
      const name = model.split('/').map(encodeURIComponent).join('/')
      try {
        await send(`/models/${name}`, {})
      } catch (error) {
        if (!(error instanceof ApiError) || error.status !== 404) throw error
        const { data } = await ask(modelPage, '/models')
        const names = data.slice(0, shownModels).map(({ id }) => id)
        const more = data.length > names.length ? ', …' : ''
        const choice = names.length === 0 ? 'none' : `${names.join(', ')}${more}`
        throw new ApiError(`There is no model \`${model}\`. There are: ${choice}.`, 404)
      }
    },
    async upload(path, filename, signal) {
      const form = new FormData()
      form.set('purpose', 'batch')
      // Backed by the file: its bytes are read as they are sent.
      form.set('file', await openAsBlob(path), filename)
      return ask(fileObject, '/files', { method: 'POST', body: form, signal }, transferLimitMs)
    },
    create: (request) => ask(batchObject, '/batches', post(request)),
    batch: (id) => ask(batchObject, pathOf(id)),
    async list({ limit, after }) {
      const query = new URLSearchParams({ limit: String(limit) })
      if (after !== undefined) query.set('after', after)
      const { data, has_more } = await ask(batchPage, `/batches?${query}`)
      return { batches: data, hasMore: has_more }
    },
    act: (id, action) => ask(batchObject, `${pathOf(id)}/${action}`, post({})),
    async content(fileId, signal) {
      const path = `/files/${encodeURIComponent(fileId)}/content`
      const { body } = await send(path, { signal }, transferLimitMs)
      return bytesOf(url, body, signal)
    },
  }
}

const json = { 'content-type': 'application/json' }

async function* bytesOf(
  url: string,
  body: ReadableStream<Uint8Array> | null,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void> {
  if (body === null) return
  try {
    yield* body
  } catch (cause) {
    if (signal.aborted) throw new Interrupted()
    throw unanswered(url, cause)
  }
}
