// Keys as texts: where a client puts its own, what a new one looks like, and what stands in its place
// wherever it would leave the gateway.
import { randomBytes } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { ServerSecret } from './secret.ts'

/** Twice the bits that cannot be guessed. */
const keyBytes = 32
/** It has to fit into a header, and to be too long to guess. */
const acceptable = /^sk-[\x21-\x7e]{13,253}$/

/** Of OpenAI's clients, and those of LiteLLM, Anthropic, Azure and Google. */
const headerNames = [
  'x-litellm-api-key',
  'authorization',
  'x-api-key',
  'api-key',
  'x-goog-api-key',
] as const

/** LiteLLM's own header comes first: it is for clients whose `Authorization` is another service's. */
export function presentedKey(headers: IncomingHttpHeaders): string | null {
  for (const name of headerNames) {
    const value = headers[name]
    if (typeof value === 'string') return value.replace(/^Bearer\s+/i, '').trim()
  }
  return null
}

/** Whether the text can be a virtual key at all. */
export function isKeyText(text: string): boolean {
  return acceptable.test(text)
}

/** 256 random bits. */
export function generateKey(): string {
  return `sk-${randomBytes(keyBytes).toString('base64url')}`
}

/** @throws PenstockError `invalid_request` naming the parameter, never the key */
export function chosenKey(text: string, param: string): string {
  if (isKeyText(text)) return text
  const message = `Invalid request: ${param}: expected "sk-" and 13 to 253 more visible characters`
  throw new PenstockError('invalid_request', message, { param })
}

/** How lists show it: `sk-...wXyZ`. */
export function maskedKey(key: string): string {
  return `sk-...${key.slice(-4)}`
}

/**
 * How a key that a client names is asked about: `hash:<hex>` for a key, `master` for the master key;
 * whatever is no key is the public id of one, and stays.
 */
export function keyReference(text: string, secret: ServerSecret, masterKey: string | null): string {
  const digest = secret.digestOf(text)
  if (masterKey !== null && secret.isSame(digest, secret.digestOf(masterKey))) return 'master'
  return text.startsWith('sk-') ? `hash:${digest.toString('hex')}` : text
}

/** A path as a message may show it: without the key that may stand in it. */
export function withoutKeys(path: string): string {
  return path.replace(/sk-[^/]+/g, 'sk-...')
}
