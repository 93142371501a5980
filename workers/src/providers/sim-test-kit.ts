// What the tests of the simulator and of mocked deployments share: emitted events as typed chunks.
import { parseEvents } from './provider-test-kit.ts'

interface Delta {
  role?: string
  content?: string | null
  tool_calls?: { function: { name?: string; arguments: string } }[]
}

export interface Chunk {
  choices: { delta?: Delta; text?: string; finish_reason: string | null }[]
  usage?: { prompt_tokens: number; completion_tokens: number }
}

export function chunksOf(emitted: readonly Uint8Array[]): Chunk[] {
  return JSON.parse(JSON.stringify(parseEvents(Buffer.concat(emitted))))
}

export function textOf(chunks: readonly Chunk[]): string {
  return chunks
    .map(({ choices: [choice] }) => choice?.delta?.content ?? choice?.text ?? '')
    .join('')
}
