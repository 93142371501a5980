// What the providers' tests share: a call, the fixtures, and streams cut into pieces.
import { readFileSync } from 'node:fs'
import type { Deployment } from '@penstock/shared/config/deployment'
import { PenstockError } from '@penstock/shared/contracts/errors'
import type { ProviderCall } from './provider.ts'

const deployment: Deployment = {
  id: 'd1',
  group: 'local',
  model: 'ollama_chat/llama3.2',
  apiBase: null,
  apiKey: null,
  organization: null,
  extraHeaders: {},
  timeoutMs: null,
  streamTimeoutMs: null,
  maxParallelRequests: null,
  rpm: null,
  tpm: null,
  weight: null,
  order: null,
  cooldownMs: null,
  tags: [],
  dropParams: false,
  additionalDropParams: [],
  defaults: {},
  prices: null,
  baseModel: null,
  mode: null,
  maxInputTokens: null,
  maxOutputTokens: null,
  dataLocality: null,
  mockResponse: null,
}

interface CallOptions extends Partial<Omit<ProviderCall, 'deployment' | 'body'>> {
  deployment?: Partial<Deployment>
}

/** A call with this body; `emit` does nothing unless it is given. */
export function testCall(body: Record<string, unknown>, options: CallOptions = {}): ProviderCall {
  return {
    operation: 'chat',
    stream: false,
    includeUsage: false,
    model: 'llama3.2',
    signal: new AbortController().signal,
    emit: () => undefined,
    ...options,
    body,
    deployment: { ...deployment, ...options.deployment },
  }
}

export function fixture(name: string): Buffer {
  return readFileSync(new URL(`fixtures/ollama/${name}`, import.meta.url))
}

export function jsonFixture(name: string): unknown {
  return JSON.parse(fixture(name).toString('utf8'))
}

/** The bytes as a body that arrives `size` bytes at a time. */
export async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** The parsed data of SSE events, ids and times made comparable. Fails on anything else. */
export function parseEvents(bytes: Uint8Array): Record<string, unknown>[] {
  const text = Buffer.from(bytes).toString('utf8')
  if (text === '') return []
  if (!text.endsWith('\n\n')) throw new Error(`not whole events: ${text}`)
  return text
    .slice(0, -2)
    .split('\n\n')
    .map((event) => {
      if (!event.startsWith('data: ')) throw new Error(`not an event: ${event}`)
      return JSON.parse(event.slice('data: '.length))
    })
}

/** For `assert.throws` and `assert.rejects`: the error's code, and its `param` if given. */
export function failsWith(code: string, param?: string) {
  return (error: unknown) => {
    if (!(error instanceof PenstockError)) throw error
    const { info } = error
    const matches = info.code === code && (param === undefined || info.param === param)
    if (!matches) throw new Error(`${info.code} at ${info.param}: ${info.message}`)
    return true
  }
}
