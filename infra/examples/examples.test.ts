import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { test } from 'node:test'
import { loadConfig } from '@penstock/shared/config/load'

const folder = new URL('.', import.meta.url)

test('every example is a config that loads', async () => {
  const files = (await readdir(folder)).filter((name) => name.endsWith('.yaml'))
  assert.ok(files.length > 0)
  for (const file of files) {
    const { warnings } = await loadConfig(new URL(file, folder).pathname, {
      OPENAI_API_KEY: 'x',
      LITELLM_MASTER_KEY: 'sk-x',
      OLLAMA_API_BASE: 'http://127.0.0.1:11434',
      VLLM_API_BASE: 'http://127.0.0.1:8000/v1',
      AZURE_API_BASE: 'https://example.openai.azure.com',
      AZURE_API_KEY: 'x',
      AWS_REGION_NAME: 'eu-central-1',
    })
    assert.deepEqual(warnings, [], file)
  }
})
