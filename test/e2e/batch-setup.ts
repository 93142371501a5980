// What tests of batches have in common: input files, submitting them as the openai SDK's users do,
// waiting for an end, and both files of results read back.
import assert from 'node:assert/strict'
import { batchObject } from '@penstock/shared/contracts/batches'
import OpenAI, { toFile } from 'openai'
import { z } from 'zod'
import { eventually } from '../harness/eventually.ts'

export const batchModel = 'batch-model'

const outputLine = z.object({
  id: z.string(),
  custom_id: z.string(),
  response: z
    .object({ status_code: z.int(), request_id: z.string(), body: z.looseObject({}) })
    .nullable(),
  error: z.object({ code: z.string(), message: z.string() }).nullable(),
})
export type OutputLine = z.infer<typeof outputLine>

const ended = ['completed', 'failed', 'expired', 'cancelled']

/** A chat line; what it says names it, so that an upstream's calls can be told apart. */
export function chatLine(customId: string, body: object = {}): string {
  const messages = [{ role: 'user', content: customId }]
  const whole = { model: batchModel, messages, ...body }
  return JSON.stringify({
    custom_id: customId,
    method: 'POST',
    url: '/v1/chat/completions',
    body: whole,
  })
}

export function chatLines(count: number, body: object = {}): string[] {
  return Array.from({ length: count }, (_, index) => chatLine(`line-${index}`, body))
}

export function createBatches(url: string, apiKey: string) {
  const openai = new OpenAI({ apiKey, baseURL: `${url}/v1`, maxRetries: 0, timeout: 60_000 })

  async function submit(lines: readonly string[], extra: object = {}): Promise<string> {
    const file = await toFile(Buffer.from(`${lines.join('\n')}\n`), 'input.jsonl')
    const { id } = await openai.files.create({ file, purpose: 'batch' })
    const batch = await openai.batches.create({
      input_file_id: id,
      endpoint: '/v1/chat/completions',
      completion_window: '24h',
      ...extra,
    })
    return batch.id
  }

  const read = async (id: string) => batchObject.parse(await openai.batches.retrieve(id))

  async function lines(fileId: string | null): Promise<OutputLine[]> {
    if (fileId === null) return []
    const text = await (await openai.files.content(fileId)).text()
    assert.ok(text.endsWith('\n'))
    const all = text.slice(0, -1).split('\n')
    return all.map((line) => outputLine.parse(JSON.parse(line)))
  }

  return {
    openai,
    submit,
    read,
    /** Resolves when the batch has ended, however it did. */
    ended: (id: string, limitMs = 30_000) =>
      eventually(
        `the end of ${id}`,
        async () => {
          const batch = await read(id)
          return ended.includes(batch.status) ? batch : null
        },
        limitMs,
      ),
    until: (id: string, what: string, holds: (batch: z.infer<typeof batchObject>) => boolean) =>
      eventually(what, async () => {
        const batch = await read(id)
        return holds(batch) ? batch : null
      }),
    async results(id: string): Promise<{ output: OutputLine[]; errors: OutputLine[] }> {
      const { output_file_id, error_file_id } = await read(id)
      return { output: await lines(output_file_id), errors: await lines(error_file_id) }
    },
    /** Ours: `pause`, `resume`, `retry`. */
    tell: (id: string, what: string) => openai.post(`/batches/${id}/${what}`),
  }
}
export type Batches = ReturnType<typeof createBatches>
