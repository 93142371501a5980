import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { test } from 'node:test'

const logFile = new URL('log.ts', import.meta.url).href

/** Says when it may be cut off; then logs, more than a block, and ends. */
const program = `
  const { createLogger, flushLogs } = await import('${logFile}')
  const log = createLogger('test', {})
  process.send('ready')
  process.once('message', async () => {
    for (let line = 0; line < 1_000; line++) log.info({ line }, 'a line')
    log.fatal('the last line')
    await Promise.race([flushLogs(log), new Promise((resolve) => setTimeout(resolve, 500))])
    process.exit(3)
  })
`

function start() {
  return spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
}

test('what was logged before the end is written out', async () => {
  const child = start()
  let output = ''
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk.toString()
  })
  await once(child, 'message')
  child.send('go')
  assert.deepEqual(await once(child, 'close'), [3, null])
  const lines = output.trim().split('\n')
  assert.equal(lines.length, 1_001)
  assert.match(lines.at(-1) ?? '', /the last line/)
})

test('a process whose output nobody reads any more can still end', {
  timeout: 20_000,
}, async (t) => {
  const child = start()
  t.after(() => child.kill('SIGKILL'))
  await once(child, 'message')
  child.stdout?.destroy()
  child.send('go')
  assert.deepEqual(await once(child, 'exit'), [3, null])
})
