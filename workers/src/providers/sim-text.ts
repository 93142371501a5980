// What the simulator says, and how it reads a request: its token is a word.
import type { TextOperation } from '@penstock/shared/contracts/request'
import type { Answer } from './sim-answer.ts'
import type { SimOptions } from './sim-options.ts'
import { valueFor } from './sim-schema.ts'

interface Fields {
  messages?: unknown
  prompt?: unknown
  suffix?: unknown
  input?: unknown
  content?: unknown
  text?: unknown
  tools?: unknown
  tool_choice?: unknown
  response_format?: unknown
  type?: unknown
  json_schema?: unknown
  schema?: unknown
  function?: unknown
  name?: unknown
  parameters?: unknown
}

const opening = 'This is a simulated answer.'
const lorem =
  'Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut ' +
  'labore et dolore magna aliqua. Ut enim ad minim veniam, quis nostrud exercitation ullamco ' +
  'laboris nisi ut aliquip ex ea commodo consequat. Duis aute irure dolor in reprehenderit in ' +
  'voluptate velit esse cillum dolore eu fugiat nulla pariatur. Excepteur sint occaecat cupidatat ' +
  'non proident, sunt in culpa qui officia deserunt mollit anim id est laborum.'
const openingWords = opening.split(' ')
const loremWords = lorem.split(' ')
const maxPieces = 100_000

/** A forced tool call or a wanted JSON gets an answer of its shape, everything else lorem ipsum. */
export function simulatedAnswer(
  operation: TextOperation,
  body: Fields,
  options: SimOptions,
): Answer {
  const limit = Math.min(
    options.max_tokens ?? maxPieces,
    options.max_completion_tokens ?? maxPieces,
  )
  const tool = operation === 'chat' ? forcedTool(body) : null
  const wanted =
    tool === null
      ? (wantedJson(operation, body) ?? loremPieces(options.sim_tokens))
      : inPieces(valueFor(tool.parameters))
  const whole = wanted.length <= limit
  return {
    pieces: whole ? wanted : wanted.slice(0, limit),
    finish: whole ? (tool === null ? 'stop' : 'tool_calls') : 'length',
    tool: tool === null ? null : tool.name,
    promptTokens: promptWords(operation, body),
  }
}

/** The words of a prompt, of messages or of an embedding's input. Token ids count one each. */
export function promptWords(operation: TextOperation, body: Fields): number {
  switch (operation) {
    case 'chat':
      return wordsIn(body.messages)
    case 'completion':
      return wordsIn(body.prompt) + wordsIn(body.suffix)
    case 'embedding':
      return wordsIn(body.input)
  }
}

/** Words in a text, a list or a message's `content`; data such as images counts nothing. */
function wordsIn(value: unknown): number {
  if (typeof value === 'string') return value.split(/\s+/).filter(Boolean).length
  if (typeof value === 'number') return 1
  if (Array.isArray(value)) return value.reduce((sum: number, item) => sum + wordsIn(item), 0)
  return isFields(value) ? wordsIn(value.content) + wordsIn(value.text) : 0
}

function loremPieces(count: number): string[] {
  return Array.from({ length: count }, (_, index) => {
    const word =
      openingWords[index] ?? loremWords[(index - openingWords.length) % loremWords.length]
    return index === 0 ? `${word}` : ` ${word}`
  })
}

/** The tool that the request insists on: by name, or the first one where any will do. */
function forcedTool(body: Fields): { name: string; parameters: unknown } | null {
  const choice = body.tool_choice
  const tools = Array.isArray(body.tools) ? body.tools : []
  const wanted = isFields(choice) && isFields(choice.function) ? choice.function.name : undefined
  if (choice !== 'required' && wanted === undefined) return null
  for (const tool of tools) {
    const offered = isFields(tool) ? tool.function : undefined
    if (!isFields(offered) || typeof offered.name !== 'string') continue
    if (choice === 'required' || offered.name === wanted) {
      return { name: offered.name, parameters: offered.parameters ?? {} }
    }
  }
  return null
}

function wantedJson(operation: TextOperation, body: Fields): string[] | null {
  const format = body.response_format
  if (operation !== 'chat' || !isFields(format)) return null
  if (format.type === 'json_object') return inPieces({ answer: opening })
  const named = format.type === 'json_schema' ? format.json_schema : undefined
  return isFields(named) ? inPieces(valueFor(named.schema)) : null
}

function inPieces(value: unknown): string[] {
  return JSON.stringify(value).match(/.{1,8}/gsu) ?? []
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null
}
