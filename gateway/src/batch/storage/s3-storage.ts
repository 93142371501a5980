// Files in an S3 bucket, or in what speaks as one. A multipart upload appears whole when it is completed;
// one that failed is aborted, and one that a crash left is swept away.
import { Readable } from 'node:stream'
import {
  AbortMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  S3Client,
  type S3ClientConfig,
  S3ServiceException,
} from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'
import type { PenstockError } from '@penstock/shared/contracts/errors'
import {
  bounded,
  checkedKey,
  noSuchBytes,
  type PutOptions,
  type Storage,
  storageFault,
} from './storage.ts'

/** What one upload holds in memory: two parts. S3 takes no smaller ones than 5 MB. */
const partBytes = 8 * 1024 * 1024
const partsAtOnce = 2
/** A bucket that says nothing for so long is given up, in milliseconds. */
const timeouts = { connectionTimeout: 5_000, socketTimeout: 60_000 }

/** @param url `s3://bucket/prefix` */
export function openS3Storage(url: string, env: NodeJS.ProcessEnv): Storage {
  const { host: Bucket, pathname } = new URL(url)
  const folder = pathname.replace(/^\/+|\/+$/g, '')
  const prefix = folder === '' ? '' : `${folder}/`
  const client = new S3Client(clientConfig(env))
  const at = (key: string) => ({ Bucket, Key: `${prefix}${checkedKey(key)}` })

  async function put(key: string, source: AsyncIterable<Uint8Array>, { maxBytes }: PutOptions) {
    let bytes = 0
    let sourceError: unknown = null
    const passing = async function* () {
      try {
        yield* bounded(source, maxBytes, (count) => {
          bytes = count
        })
      } catch (error) {
        // A body that is destroyed throws into its source.
        if (!body.destroyed) sourceError = error
        throw error
      }
    }
    const body = Readable.from(passing(), { objectMode: false })
    const upload = new Upload({
      client,
      params: { ...at(key), Body: body },
      partSize: partBytes,
      queueSize: partsAtOnce,
      leavePartsOnError: false,
    })
    try {
      await upload.done()
    } catch (error) {
      throw sourceError ?? fault(error)
    } finally {
      // The source may hold something open.
      body.destroy()
    }
    return bytes
  }

  return {
    put,
    async read(key, range) {
      if (range !== undefined && range.end <= range.start) return Readable.from([])
      const Range = range === undefined ? {} : { Range: `bytes=${range.start}-${range.end - 1}` }
      const { Body } = await client.send(new GetObjectCommand({ ...at(key), ...Range })).catch(fail)
      if (Body instanceof Readable) return Body
      throw noSuchBytes()
    },
    async size(key) {
      const found = await client
        .send(new HeadObjectCommand(at(key)))
        .catch((error) => (isMissing(error) ? null : fail(error)))
      return found?.ContentLength ?? null
    },
    async remove(key) {
      await client.send(new DeleteObjectCommand(at(key))).catch(fail)
    },
    async sweep(before) {
      const list = new ListMultipartUploadsCommand({ Bucket, Prefix: prefix })
      const { Uploads = [] } = await client.send(list).catch(fail)
      for (const { Key, UploadId, Initiated } of Uploads) {
        if (Initiated === undefined || Initiated.getTime() >= before) continue
        await client.send(new AbortMultipartUploadCommand({ Bucket, Key, UploadId })).catch(fail)
      }
    },
    close: () => client.destroy(),
  }
}

/** Another server than AWS's has its buckets in the path, any region, and seldom the newest checksums. */
function clientConfig(env: NodeJS.ProcessEnv): S3ClientConfig {
  const endpoint = env.AWS_ENDPOINT_URL_S3 ?? env.AWS_ENDPOINT_URL
  if (endpoint === undefined || endpoint === '') return { requestHandler: timeouts }
  const region = env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? 'us-east-1'
  return {
    endpoint,
    region,
    requestHandler: timeouts,
    forcePathStyle: true,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof S3ServiceException && error.$metadata.httpStatusCode === 404
}

function fault(error: unknown): PenstockError {
  if (isMissing(error)) return noSuchBytes(error)
  // MinIO and others answer 507 where they have no space left.
  const status = error instanceof S3ServiceException ? error.$metadata.httpStatusCode : null
  return storageFault(status === 507, error)
}

/** @throws PenstockError */
function fail(error: unknown): never {
  throw fault(error)
}
