// Where the bytes of files are: a directory or an S3 bucket. What is put is there whole or not at all,
// and nothing is ever held in memory whole.
import type { Readable } from 'node:stream'
import { PenstockError } from '@penstock/shared/contracts/errors'

/** Bytes from `start` up to and without `end`. */
export interface ByteRange {
  start: number
  end: number
}

export interface PutOptions {
  maxBytes: number
}

/** All methods throw PenstockError: `service_unavailable` where the storage is at fault (507: it is full). */
export interface Storage {
  /**
   * Stores the bytes under the key, in place of what is there; on any failure what was there stays.
   * @returns how many bytes
   * @throws PenstockError `request_too_large`; whatever the source fails with
   */
  put(key: string, source: AsyncIterable<Uint8Array>, options: PutOptions): Promise<number>
  /** @throws PenstockError `not_found` (also once the file is being read: the stream's error) */
  read(key: string, range?: ByteRange): Promise<Readable>
  /** In bytes; null: nothing is there. */
  size(key: string): Promise<number | null>
  /** Once or more often. */
  remove(key: string): Promise<void>
  /** Takes away what processes that were killed had begun to put before that moment (epoch ms). */
  sweep(before: number): Promise<void>
  close(): void
}

/**
 * @param place an absolute path, or `s3://bucket/prefix` (credentials, region and endpoint as the AWS
 *   SDK finds them: AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL …)
 */
export async function openStorage(place: string, env: NodeJS.ProcessEnv): Promise<Storage> {
  if (place.startsWith('s3://')) {
    const { openS3Storage } = await import('./s3-storage.ts')
    return openS3Storage(place, env)
  }
  const { openDiskStorage } = await import('./disk-storage.ts')
  return openDiskStorage(place)
}

const safe = /^[A-Za-z0-9][A-Za-z0-9_-]{0,127}$/

/** Keys are made by us; one that is not must not reach a path. */
export function checkedKey(key: string): string {
  if (safe.test(key)) return key
  throw new PenstockError('internal_error', 'A file has an odd key.')
}

/** The bytes as they pass. @throws PenstockError `request_too_large` beyond the limit */
export async function* bounded(
  source: AsyncIterable<Uint8Array>,
  maxBytes: number,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void> {
  let bytes = 0
  for await (const chunk of source) {
    bytes += chunk.length
    if (bytes > maxBytes) {
      const message = `The file is larger than ${maxBytes / 1_000_000} MB.`
      throw new PenstockError('request_too_large', message, { param: 'file' })
    }
    onBytes(bytes)
    yield chunk
  }
}

/** What a failing storage tells clients: never a path or a bucket. */
export function storageFault(isFull: boolean, cause: unknown): PenstockError {
  if (isFull) {
    const message = 'There is no space left for the file.'
    return new PenstockError('service_unavailable', message, { status: 507, cause })
  }
  const message = 'The storage of files cannot be used now.'
  return new PenstockError('service_unavailable', message, { retryAfterMs: 5_000, cause })
}

export function noSuchBytes(cause?: unknown): PenstockError {
  return new PenstockError('not_found', 'The content of the file is gone.', { cause })
}
