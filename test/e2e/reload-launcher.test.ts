// Who edits the config of a running `npm start` learns on its terminal what became of the edit.
import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { completionOf } from '../harness/answers.ts'
import type { Client } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import { type Instance, npmStart } from '../harness/launcher.ts'

const stopLimitMs = 10_000

let folder: string
let configFile: string
let instance: Instance

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-reload-'))
  configFile = join(folder, 'config.yaml')
  await writeFile(configFile, configOf('before'))
  instance = npmStart(join(folder, 'data'), ['--port', '0', '--config', configFile])
})
after(async () => {
  instance.signalGroup('SIGINT')
  await instance.gone(stopLimitMs)
  await rm(folder, { recursive: true })
})

function configOf(name: string): string {
  return `model_list: [{model_name: ${name}, litellm_params: {model: sim/lorem}}]`
}

async function answers(client: Client, model: string): Promise<void> {
  const body = { model, messages: [{ role: 'user', content: 'hello' }] }
  assert.notEqual(completionOf(await client.post('/v1/chat/completions', body)).text, '')
}

test('under the launcher a refused edit is shown on the terminal, and the old config goes on', async () => {
  const client = await instance.ready()
  try {
    await writeFile(configFile, 'model_list: 7')
    const refusal = 'the changed config is refused, the old one stays in effect'
    for (const part of ['gateway', 'router', 'worker']) {
      await instance.prints(
        new RegExp(`\\[${part}\\] ${refusal}: The config has a problem:\\n.*got 7`),
      )
    }
    await answers(client, 'before')

    // One that has to start anew meanwhile waits for the edit that mends the file.
    process.kill((await instance.process(/cli\.ts worker /)).pid, 'SIGKILL')
    await instance.prints(/^worker ended \(it refused its configuration\); starting it again in/m)
    await writeFile(configFile, configOf('after'))
    await eventually('an answer by the mended config', () =>
      answers(client, 'after').then(
        () => true,
        () => false,
      ),
    )
  } finally {
    await client.close()
  }
})
