// Reads a request's body whole, within the limit. The bytes travel on as they came, so they are
// kept beside the parsed value.
import type { IncomingMessage } from 'node:http'
import { PenstockError } from '@penstock/shared/contracts/errors'
import { isDeeperThan } from './json-depth.ts'

/** The largest body taken, in bytes (32 MB). A larger one is answered with 413. */
export const maxBodyBytes = 32_000_000
/** A body over the limit is still read and thrown away up to here, so that the client, which
 *  writes before it reads, gets to see the 413. */
const maxDiscardBytes = 4 * maxBodyBytes
/** Lists and objects inside each other. Writing a body of ten thousand overflows the stack. */
const maxDepth = 1_000

/**
 * @throws PenstockError `request_too_large`, `invalid_request` (an encoding we do not read, or a
 *   body that broke off)
 */
export function readBody(req: IncomingMessage): Promise<Buffer> {
  const encoding = req.headers['content-encoding']
  if (encoding !== undefined && encoding !== 'identity') {
    const message = `content-encoding ${encoding} is not supported: send the body plain.`
    return Promise.reject(new PenstockError('invalid_request', message, { status: 415 }))
  }
  // Its client may have left while it was found out who that is.
  if (req.destroyed) return Promise.reject(brokenOff())
  return new Promise((resolve, reject) => {
    let chunks: Buffer[] = []
    let bytes = 0
    req.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= maxBodyBytes) chunks.push(chunk)
      else {
        chunks = []
        if (bytes > maxDiscardBytes) req.destroy()
      }
    })
    req.on('end', () => {
      if (bytes > maxBodyBytes) reject(tooLarge())
      else
        resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks))
    })
    req.on('close', () => {
      if (!req.complete) reject(brokenOff())
    })
    // A connection that was reset.
    req.on('error', (cause) => reject(brokenOff(cause)))
  })
}

/** A request's bytes as they travel on, and what they say. Rejects with a PenstockError. */
export type Receive = (req: IncomingMessage) => Promise<{ bytes: Buffer; value: unknown }>

export const receiveJson: Receive = async (req) => {
  const bytes = await readBody(req)
  return { bytes, value: parseJson(bytes) }
}

/** @throws PenstockError `invalid_request` */
export function parseJson(body: Buffer): unknown {
  if (body.length === 0) {
    throw new PenstockError('invalid_request', 'The request body is empty: expected JSON.')
  }
  let parsed: unknown
  try {
    parsed = JSON.parse(body.toString('utf8'))
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unreadable'
    const message = `The request body is not valid JSON: ${reason.slice(0, 200)}`
    throw new PenstockError('invalid_request', message, { cause })
  }
  if (isDeeperThan(maxDepth, body)) {
    const message = `The request body is nested deeper than ${maxDepth} levels.`
    throw new PenstockError('invalid_request', message)
  }
  return parsed
}

function tooLarge(): PenstockError {
  const message = `The request body is larger than ${maxBodyBytes / 1_000_000} MB.`
  return new PenstockError('request_too_large', message)
}

function brokenOff(cause?: unknown): PenstockError {
  return new PenstockError('client_closed_request', 'The request body broke off.', { cause })
}
