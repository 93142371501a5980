// Requests of Ollama's own clients to an Ollama server: nothing is translated but the model's name, and
// the answer's bytes go back as they come. Of a stream only the last line is parsed, for its counts.
import type { DialectName } from '@penstock/shared/contracts/request'
import type { EndpointCall } from './ollama-endpoint.ts'
import { reportedError } from './ollama-errors.ts'
import { mapParameters } from './ollama-parameters.ts'
import { cutOff, LineBuffer, parseLine, type StreamLine, untilLast } from './ollama-stream.ts'
import type { NativeCall, ProviderCall } from './provider.ts'
import { skipBlanks } from './sse-event.ts'

export const nativeDialects = [
  'ollama-chat',
  'ollama-generate',
  'ollama-embed',
] as const satisfies readonly DialectName[]

type Fields = Record<string, unknown>

const newline = 10
const colon = 0x3a
const letterT = 0x74
/** How a line of a failure begins, and what a last line holds. In a text the quotes are escaped. */
const errorStart = Buffer.from('{"error"')
const doneKey = Buffer.from('"done"')
/** The deployment's defaults that are Ollama's own fields; the others are options to it. */
const defaultRules = {
  own: new Set<string>(),
  native: new Set(['format', 'keep_alive', 'shift', 'think', 'truncate']),
  refused: new Map(),
}

/** The client's request with the upstream's model and the deployment's defaults behind its own fields. */
export function nativeRequest(
  call: ProviderCall,
  { dialect }: NativeCall,
): Pick<EndpointCall, 'path' | 'request'> {
  const { deployment, model, stream } = call
  const { fields } = mapParameters({ ...call, body: deployment.defaults }, defaultRules)
  const options = { ...asFields(fields.options), ...asFields(call.body.options) }
  const request: Fields = { ...fields, ...call.body, model }
  if (Object.keys(options).length > 0) request.options = options
  for (const name of deployment.additionalDropParams) delete request[name]
  const path = pathOf(dialect, call.body)
  return { path, request: path.startsWith('/api/embed') ? request : { ...request, stream } }
}

/** The older endpoint for embeddings takes one `prompt`. */
function pathOf(dialect: DialectName, body: Fields): EndpointCall['path'] {
  if (dialect === 'ollama-chat') return '/api/chat'
  if (dialect === 'ollama-generate') return '/api/generate'
  return body.input === undefined ? '/api/embeddings' : '/api/embed'
}

/**
 * Passes whole lines on. Resolves with the last one (`done: true`).
 * @throws PenstockError `upstream_cut_off` without such a line, `upstream_invalid_response` for a last
 *   line that is no JSON object, the failure that a line reports; and what `body` throws
 */
export async function passStream(
  body: AsyncIterable<Uint8Array>,
  model: string,
  emit: (lines: Uint8Array) => void,
): Promise<StreamLine> {
  const buffer = new LineBuffer()
  const read = await untilLast(body, (chunk) => passLines(buffer.take(chunk), model, emit))
  // A last line may lack its newline.
  const last = read ?? passLines(buffer.rest(), model, emit)
  if (last === null) throw cutOff()
  return last
}

/** @returns the last line of the answer, if it is among these */
function passLines(
  lines: Buffer,
  model: string,
  emit: (lines: Uint8Array) => void,
): StreamLine | null {
  if (lines.length === 0) return null
  const failed = startOf(lines, errorStart)
  const passed = failed === -1 ? lines : lines.subarray(0, failed)
  const last = lastOf(passed)
  const end = last?.end ?? wholeLines(passed)
  if (end > 0) emit(passed.subarray(0, end))
  if (last !== null) return last.line
  if (failed === -1) return null
  const { error } = parseLine(lines.toString('utf8', failed, lineEnd(lines, failed)))
  throw reportedError({ error }, model)
}

/** The line that says `done: true` itself: a tool's arguments may hold the same words. */
function lastOf(lines: Buffer): { line: StreamLine; end: number } | null {
  for (let at = lines.indexOf(doneKey); at !== -1; at = lines.indexOf(doneKey, at + 1)) {
    if (!isTrueBehind(lines, at + doneKey.length)) continue
    const start = lines.lastIndexOf(newline, at) + 1
    const end = lineEnd(lines, at)
    const json = lines.toString('utf8', start, end)
    // What a broken connection left of a line is none.
    if (lines[end - 1] !== newline && !json.trimEnd().endsWith('}')) return null
    const line = parseLine(json)
    if (line.done === true) return { line, end }
  }
  return null
}

/** Go writes `"done":true`; servers in other languages that speak this API put spaces into it. */
function isTrueBehind(lines: Buffer, at: number): boolean {
  const behind = skipBlanks(lines, at)
  return lines[behind] === colon && lines[skipBlanks(lines, behind + 1)] === letterT
}

/** Where a line begins with these bytes; -1: nowhere. */
function startOf(lines: Buffer, bytes: Buffer): number {
  for (let at = lines.indexOf(bytes); at !== -1; at = lines.indexOf(bytes, at + 1)) {
    if (at === 0 || lines[at - 1] === newline) return at
  }
  return -1
}

/** Behind the newline of the line that holds `at`; the buffer's end where it has none. */
function lineEnd(lines: Buffer, at: number): number {
  const end = lines.indexOf(newline, at)
  return end === -1 ? lines.length : end + 1
}

/** A piece of a line, left by a connection that broke, would leave the client with broken JSON. */
function wholeLines(lines: Buffer): number {
  return lines.lastIndexOf(newline) + 1
}

function asFields(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : {}
}
