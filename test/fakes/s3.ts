// A small S3 over HTTP: one bucket's objects and multipart uploads in memory, in path style. Anybody may
// use it; it checks no signature.
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export interface FakeS3 {
  url: string
  /** By `bucket/key`. */
  objects: ReadonlyMap<string, Buffer>
  /** Uploads under way: their ids. */
  uploads: ReadonlyMap<string, { initiated: Date }>
  /** From now on parts and objects are refused with this status; null: no longer. */
  refuse(status: number | null): void
  close(): Promise<void>
}

interface Upload {
  path: string
  parts: Map<number, Buffer>
  initiated: Date
}

export async function startFakeS3(): Promise<FakeS3> {
  const objects = new Map<string, Buffer>()
  const uploads = new Map<string, Upload>()
  let refusal: number | null = null
  let lastId = 0

  async function answer(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? '/', 'http://s3')
    const path = decodeURIComponent(url.pathname.slice(1))
    const { searchParams: query } = url
    const uploadId = query.get('uploadId')
    const upload = uploadId === null ? undefined : uploads.get(uploadId)
    const body = await buffer(req)
    const xml = (text: string) => res.setHeader('content-type', 'application/xml').end(text)
    const etag = () => res.setHeader('etag', '"an-etag"').end()
    const missing = () => {
      res.statusCode = 404
      xml('<Error><Code>NoSuchKey</Code><Message>none</Message></Error>')
    }

    if (req.method === 'PUT' && refusal !== null) {
      res.statusCode = refusal
      xml('<Error><Code>Refused</Code><Message>refused</Message></Error>')
    } else if (req.method === 'POST' && query.has('uploads')) {
      const id = `upload-${++lastId}`
      uploads.set(id, { path, parts: new Map(), initiated: new Date() })
      xml(
        `<InitiateMultipartUploadResult><UploadId>${id}</UploadId></InitiateMultipartUploadResult>`,
      )
    } else if (req.method === 'GET' && query.has('uploads')) {
      const listed = [...uploads].map(
        ([id, { path: one, initiated }]) =>
          `<Upload><Key>${one.slice(one.indexOf('/') + 1)}</Key><UploadId>${id}</UploadId>` +
          `<Initiated>${initiated.toISOString()}</Initiated></Upload>`,
      )
      xml(`<ListMultipartUploadsResult>${listed.join('')}</ListMultipartUploadsResult>`)
    } else if (uploadId !== null && upload === undefined) {
      missing()
    } else if (req.method === 'PUT' && upload !== undefined) {
      upload.parts.set(Number(query.get('partNumber')), body)
      etag()
    } else if (req.method === 'POST' && upload !== undefined && uploadId !== null) {
      const parts = [...upload.parts].sort(([a], [b]) => a - b).map(([, part]) => part)
      objects.set(path, Buffer.concat(parts))
      uploads.delete(uploadId)
      xml('<CompleteMultipartUploadResult><ETag>"an-etag"</ETag></CompleteMultipartUploadResult>')
    } else if (req.method === 'DELETE') {
      if (uploadId === null) objects.delete(path)
      else uploads.delete(uploadId)
      res.writeHead(204).end()
    } else if (req.method === 'PUT') {
      objects.set(path, body)
      etag()
    } else {
      const object = objects.get(path)
      if (object === undefined) return missing()
      const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range ?? '') ?? []
      const part = from === undefined ? object : object.subarray(Number(from), Number(to) + 1)
      res.writeHead(from === undefined ? 200 : 206, { 'content-length': part.length }).end(part)
    }
  }

  const server = createServer((req, res) => {
    answer(req, res).catch(() => res.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    objects,
    uploads,
    refuse(status) {
      refusal = status
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
