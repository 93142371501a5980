// OpenAI's own clients against the fake of Azure OpenAI: what they can read is what Azure sends.
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { AzureOpenAI, OpenAI } from 'openai'
import { filteredWord, startFakeAzure } from './azure.ts'

const azure = await startFakeAzure({ apiKey: 'azure-key', entraToken: 'eyJ' })
after(() => azure.close())

test('OpenAI’s own clients take it for Azure', async () => {
  azure.setBehaviour({ toolCalls: [], tokens: 3 })
  const clients = [
    new AzureOpenAI({
      endpoint: azure.url,
      apiKey: 'azure-key',
      apiVersion: '2024-10-21',
      maxRetries: 0,
    }),
    new AzureOpenAI({
      endpoint: azure.url,
      azureADTokenProvider: async () => 'eyJ',
      apiVersion: '2024-10-21',
      maxRetries: 0,
    }),
    new OpenAI({ baseURL: `${azure.url}/openai/v1/`, apiKey: 'eyJ', maxRetries: 0 }),
  ]
  for (const client of clients) {
    const ask = { model: 'gpt-4o-eu', messages: [{ role: 'user' as const, content: 'hi' }] }
    const reply = await client.chat.completions.create(ask)
    assert.equal(reply.choices[0]?.message.content, 'tok0 tok1 tok2')
    const stream = client.chat.completions.stream(ask)
    assert.equal(await stream.finalContent(), 'tok0 tok1 tok2')
    const filtered = { ...ask, messages: [{ role: 'user' as const, content: filteredWord }] }
    await assert.rejects(client.chat.completions.create(filtered), {
      status: 400,
      code: 'content_filter',
    })
  }
})
