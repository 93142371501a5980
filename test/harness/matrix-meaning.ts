// What the matrix asks in every dialect, and what it reads out of every answer: the same meaning in
// four forms. A dialect is a ClientForm in a file of its own.
import assert from 'node:assert/strict'
import { z } from 'zod'

export interface Call {
  id: string
  name: string
  arguments: unknown
}

/**
 * What goes along with the question. `link`: an image that the upstream is to fetch; `server tool`: one
 * that it is to run itself.
 */
export type Extra = 'image' | 'link' | 'document' | 'server tool'

/** One request, whatever its form. */
export interface Ask {
  model: string
  stream: boolean
  with?: 'tools' | 'schema' | Extra
  /** The tool was called: its results go along. */
  called?: readonly Call[]
}

export interface Meaning {
  text: string
  calls: Call[]
  /** As the dialect calls it; null where the answer did not end well. */
  finish: string | null
  usage: { prompt: number; completion: number } | null
  /** The message of the error that a stream ended with. */
  error: string | null
}

export interface ClientForm {
  name: string
  path: string
  request(ask: Ask): object
  /** Fails where the reply is not of the dialect's form. */
  whole(json: unknown): Meaning
  /** All of a stream; fails where an event is not of the dialect's form, or follows its end. */
  streamed(text: string): Meaning
  /** The message of an error reply; fails where it is not of the dialect's form for this status. */
  refusal(json: unknown, status: number): string
  /** How it says that an answer is complete, and that a tool is to be called. */
  finishes: { stop: string; calls: string }
  /** What there is a form for, besides an image. */
  extras: readonly Extra[]
}

/** Three tokens, as every fake counts them. */
export const question = 'one two three'
export const toolName = 'get_tide'
/** Of two calls at once, and what they result in. */
export const toolArguments = [{ port: 'Saint-Malo — 水' }, { port: 'Brest' }]
export const toolResults = ['high at noon', 'low at dusk']
export const toolParameters = {
  type: 'object',
  properties: { port: { type: 'string' } },
  required: ['port'],
}
export const answerSchema = {
  type: 'object',
  properties: { answer: { type: 'string', description: 'the final answer' } },
  required: ['answer'],
  additionalProperties: false,
}
export const png =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=='

/** Of an image; never fetched. */
export const link = 'https://images.example.com/quay.png'
export const pdf = Buffer.from('%PDF-1.4 one page').toString('base64')

export const serverTool = 'web_search_20250305'

/** A tool's arguments where a dialect writes them as a text. */
export const argumentsText = z.string().transform((text): unknown => JSON.parse(text))

export interface NamedEvent {
  event: string
  data: unknown
}

/** Of a stream whose events have names; comments are left out. */
export function namedEvents(text: string): NamedEvent[] {
  return sseBlocks(text).map((block) => {
    const [, event = '', data = ''] = /^event: (\S+)\ndata: (.+)$/.exec(block) ?? []
    assert.notEqual(event, '', `not a named event: ${block}`)
    return { event, data: JSON.parse(data) }
  })
}

/** Of a stream whose events have only data. */
export function plainEvents(text: string): string[] {
  return sseBlocks(text).map((block) => {
    assert.match(block, /^data: [^\n]+$/)
    return block.slice('data: '.length)
  })
}

function sseBlocks(text: string): string[] {
  assert.ok(text.endsWith('\n\n'), `the stream ends inside an event: ${text.slice(-200)}`)
  return text
    .split('\n\n')
    .slice(0, -1)
    .filter((block) => !block.startsWith(':'))
}
