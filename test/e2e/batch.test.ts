// Batches from upload to download, on Postgres and on Redis alike: what is answered, what fails, what is
// tried again, and what a pause, a cancel, an end of time or of money does to the lines that are left.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, beforeEach, describe, test } from 'node:test'
import { limitFor } from '@penstock/gateway/batch/engine/in-flight'
import { openQueue } from '@penstock/gateway/batch/engine/jobs'
import { startBatchRunner } from '@penstock/gateway/batch/engine/start-batch-runner'
import { openDiskStorage } from '@penstock/gateway/batch/storage/disk-storage'
import { type Storage, storageFault } from '@penstock/gateway/batch/storage/storage'
import { toFile } from 'openai'
import { z } from 'zod'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { failure } from '../fakes/openai-behaviour.ts'
import { eventually } from '../harness/eventually.ts'
import { createKeys } from '../harness/keys.ts'
import { type OtlpCollector, startOtlpCollector } from '../harness/otlp-collector.ts'
import { untilWaiting } from '../harness/queue-report.ts'
import { type Servers, silent, startServers } from '../harness/servers.ts'
import { type Stack, startStack, testSecret } from '../harness/stack.ts'
import { type Batches, batchModel, chatLine, chatLines, createBatches } from './batch-setup.ts'

const masterKey = 'sk-of-the-batch-tests'
const slots = 8
const tracesTo = 'OTEL_EXPORTER_OTLP_ENDPOINT'

interface BatchTimes {
  batch_id: string
  expires_at: Date
  not_before: Date
}

async function storageOn(disk: { full: (() => void) | null }, directory: string): Promise<Storage> {
  const storage = await openDiskStorage(join(directory, 'files'))
  return {
    ...storage,
    async put(...args) {
      if (disk.full === null) return storage.put(...args)
      disk.full()
      throw storageFault(true, new Error('ENOSPC'))
    },
  }
}

for (const backend of ['Postgres', 'Redis'] as const) {
  describe(`batches on ${backend}`, () => {
    let servers: Servers
    let fake: FakeOpenAi
    let stack: Stack
    let batches: Batches
    /** Full while somebody is to be told of each refusal. */
    const disk: { full: (() => void) | null } = { full: null }

    /** What otherwise only time would bring. */
    const change = (id: string, values: Partial<BatchTimes>) =>
      servers.db
        .withTables<{ batch: BatchTimes }>()
        .updateTable('batch')
        .set(values)
        .where('batch_id', '=', id)
        .execute()

    /** Null but for one of the two: what traces by the globals does so once in a process. */
    let collector: OtlpCollector | null = null

    before(async () => {
      if (backend === 'Postgres') {
        collector = await startOtlpCollector()
        process.env[tracesTo] = collector.url
      }
      servers = await startServers({ redis: backend === 'Redis' })
      fake = await startFakeOpenAi({ keepCalls: 10_000 })
      stack = await startStack({
        servers,
        storage: await storageOn(disk, servers.directory),
        count: { batch: 1 },
        batchRetry: { attempts: 3, pauseMs: 20 },
        config: {
          model_list: [
            {
              model_name: batchModel,
              litellm_params: {
                model: 'openai/gpt-4o-mini',
                api_base: fake.url,
                max_parallel_requests: slots,
              },
              model_info: { input_cost_per_token: 0.001, output_cost_per_token: 0.02 },
            },
            {
              model_name: 'narrow',
              litellm_params: {
                model: 'openai/gpt-4o-mini',
                api_base: fake.url,
                max_parallel_requests: 1,
              },
            },
          ],
          router_settings: { num_retries: 0, disable_cooldowns: true },
          general_settings: { master_key: masterKey },
        },
      })
      batches = createBatches(stack.url, masterKey)
      delete process.env[tracesTo]
    })
    beforeEach(() => fake.setBehaviour('normal'))
    after(async () => {
      await stack.close()
      await Promise.all([fake.close(), servers.close(), collector?.close()])
    })

    test('the SDK uploads, creates, polls and downloads: every line is answered, in order', async () => {
      const lines = chatLines(100)
      const id = await batches.submit(lines, { metadata: { night: 'first' } })
      const batch = await batches.ended(id)
      assert.equal(batch.status, 'completed')
      assert.deepEqual(batch.request_counts, { total: 100, completed: 100, failed: 0 })
      assert.deepEqual(batch.metadata, { night: 'first' })
      assert.equal(batch.error_file_id, null)
      const { output } = await batches.results(id)
      assert.deepEqual(
        output.map(({ custom_id }) => custom_id),
        Array.from(lines, (_, index) => `line-${index}`),
      )
      for (const { response, error } of output) {
        assert.equal(error, null)
        assert.equal(response?.status_code, 200)
        assert.equal(response?.body.object, 'chat.completion')
      }
      assert.ok(fake.counts.maxConcurrent <= slots)
      await eventually('the metrics', async () => {
        const { text } = await stack.client.get('/metrics')
        return /^penstock_batch_lines_done_total\{.*outcome="completed".*\} 100$/m.test(text)
      })
    })

    test('bad lines fail the batch, each with its number, before anything is asked', async () => {
      const { started } = fake.counts
      const id = await batches.submit([
        chatLine('good'),
        'not json',
        chatLine('good'),
        JSON.stringify({ custom_id: 'other', method: 'POST', url: '/v1/embeddings', body: {} }),
        chatLine('streamed', { stream: true }),
        chatLine('unknown', { model: 'nobody-serves-this' }),
      ])
      const batch = await batches.ended(id)
      assert.equal(batch.status, 'failed')
      assert.deepEqual(
        batch.errors?.data.map(({ line, code }) => [line, code]),
        [
          [2, 'invalid_json_line'],
          [3, 'duplicate_custom_id'],
          [4, 'mismatched_url'],
          [5, 'stream_not_allowed'],
          [6, 'model_not_found'],
        ],
      )
      assert.equal(fake.counts.started, started)
    })

    test('a passing fault is tried again; a lasting one ends as a dead letter, and is redriven', async () => {
      let tries = 0
      let isBroken = true
      const broken = { fault: failure(500, { message: 'out of order' }) }
      fake.setBehaviour(({ body }) => {
        const text = JSON.stringify(body.messages)
        if (text.includes('refused')) return { fault: failure(400, { message: 'never' }) }
        if (text.includes('flaky') && tries++ === 0) return broken
        return text.includes('dead') && isBroken ? broken : {}
      })
      const id = await batches.submit(
        ['fine', 'flaky', 'dead', 'refused'].map((one) => chatLine(one)),
      )
      const batch = await batches.ended(id)
      assert.equal(batch.status, 'completed')
      assert.deepEqual(batch.request_counts, { total: 4, completed: 2, failed: 2 })
      const { errors } = await batches.results(id)
      assert.deepEqual(
        errors.map(({ custom_id, response }) => [custom_id, response?.status_code]),
        [
          ['dead', 500],
          ['refused', 400],
        ],
      )
      isBroken = false
      await batches.tell(id, 'retry')
      const again = await batches.until(id, 'the redrive', ({ status, request_counts: counts }) => {
        return status === 'completed' && counts.completed === 3
      })
      assert.deepEqual(again.request_counts, { total: 4, completed: 3, failed: 1 })
      const second = await batches.results(id)
      assert.deepEqual(
        second.output.map(({ custom_id }) => custom_id),
        ['fine', 'flaky', 'dead'],
      )
      assert.deepEqual(
        second.errors.map(({ custom_id }) => custom_id),
        ['refused'],
      )
    })

    test('dead lines that are put back while their slice still runs are run again', async () => {
      const gate = Promise.withResolvers<void>()
      let isBroken = true
      fake.setBehaviour(({ body }) => {
        if (!JSON.stringify(body.messages).includes('dead')) return { gate: gate.promise }
        return isBroken ? { fault: failure(500, { message: 'out of order' }) } : {}
      })
      const id = await batches.submit([chatLine('slow'), chatLine('dead')])
      await batches.until(id, 'the dead one', ({ request_counts: { failed } }) => failed === 1)
      isBroken = false
      await batches.tell(id, 'retry')
      gate.resolve()
      const batch = await batches.ended(id)
      assert.deepEqual(batch.request_counts, { total: 2, completed: 2, failed: 0 })
      assert.equal((await batches.results(id)).output.length, 2)
    })

    test('a line that holds no text fails the batch, whatever is quoted of it', async () => {
      const half = chatLine('half', { model: '\ud83d' })
      const id = await batches.submit([`zero \0 byte`, half])
      const batch = await batches.ended(id)
      assert.equal(batch.status, 'failed')
      assert.deepEqual(
        batch.errors?.data.map(({ code }) => code),
        ['invalid_json_line', 'model_not_found'],
      )
    })

    test('while its last slice takes its time, no jobs are made that have nothing to do', async () => {
      const gate = Promise.withResolvers<void>()
      fake.setBehaviour(({ body }) =>
        JSON.stringify(body.messages).includes('line-3"') ? { gate: gate.promise } : {},
      )
      const count = 320
      const id = await batches.submit(chatLines(count))
      await batches.until(id, 'all but one', ({ request_counts: { completed } }) => {
        return completed === count - 1
      })
      // Another batch has come and gone meanwhile.
      await batches.ended(await batches.submit(chatLines(1)))
      const place = { databaseUrl: servers.databaseUrl, redisUrl: servers.redis?.url ?? null }
      const { queue, close } = await openQueue({ ...place, telemetry: null }, () => {})
      const jobs = await queue.getJobs(['active', 'waiting', 'delayed'])
      await close()
      gate.resolve()
      const own = jobs.map((job) => job.data).filter(({ batchId }) => batchId === id)
      assert.deepEqual(
        own.map(({ kind, slice }) => [kind, slice]),
        [['slice', 0]],
      )
      await batches.ended(id)
    })

    test('many batches that wait for one slot do not keep another model’s from running', async () => {
      const gate = Promise.withResolvers<void>()
      fake.setBehaviour(({ body }) => (body.user === 'stuck' ? { gate: gate.promise } : {}))
      const lines = chatLines(97, { model: 'narrow', user: 'stuck' })
      const stuck: string[] = []
      for (let made = 0; made < 34; made++) stuck.push(await batches.submit(lines))
      await eventually('all in progress', async () => {
        const { data } = await batches.openai.batches.list({ limit: 34 })
        return data.every(({ status }) => status === 'in_progress')
      })
      const other = await batches.ended(await batches.submit(chatLines(10)))
      assert.equal(other.request_counts.completed, 10)
      for (const id of stuck) await batches.openai.batches.cancel(id)
      gate.resolve()
      for (const id of stuck) await batches.ended(id)
    })

    test('pause lets what runs end and starts nothing more; resume goes on', async () => {
      const gate = Promise.withResolvers<void>()
      fake.setBehaviour({ gate: gate.promise })
      const id = await batches.submit(chatLines(200))
      await fake.until(({ concurrent }) => concurrent === slots)
      await batches.tell(id, 'pause')
      const { started } = fake.counts
      gate.resolve()
      // What waited at the router already may still run: as much as is sent ahead of the slots.
      await batches.until(id, 'rest', ({ request_counts: { completed } }) => completed >= slots)
      await fake.until(({ concurrent }) => concurrent === 0)
      const paused = await batches.read(id)
      assert.equal(paused.status, 'in_progress')
      assert.equal(paused.paused, true)
      assert.ok(fake.counts.started - started <= 2 * slots)
      await batches.tell(id, 'resume')
      const batch = await batches.ended(id)
      assert.deepEqual(batch.request_counts, { total: 200, completed: 200, failed: 0 })
    })

    test('cancel with 5,000 lines waiting: no call starts after it, what was done is there', async () => {
      const gate = Promise.withResolvers<void>()
      let calls = 0
      fake.setBehaviour(() => (calls++ < 50 ? {} : { gate: gate.promise }))
      const id = await batches.submit(chatLines(5_050))
      await fake.until(({ concurrent }) => concurrent === slots)
      await batches.openai.batches.cancel(id)
      const batch = await batches.ended(id)
      const { started } = fake.counts
      gate.resolve()
      await fake.until(({ concurrent }) => concurrent === 0)
      assert.equal(batch.status, 'cancelled')
      const { total, completed, failed } = batch.request_counts
      assert.equal(total, 5_050)
      assert.equal(completed + failed, total)
      assert.equal(completed, 50)
      assert.equal(fake.counts.started, started)
      const { output, errors } = await batches.results(id)
      assert.equal(output.length, completed)
      assert.equal(new Set([...output, ...errors].map(({ custom_id }) => custom_id)).size, total)
      assert.ok(errors.every(({ error }) => error?.code === 'batch_cancelled'))
    })

    test('a window that is over: what was done is in the output, the rest says batch_expired', async () => {
      const gate = Promise.withResolvers<void>()
      let calls = 0
      fake.setBehaviour(() => (calls++ < 10 ? {} : { gate: gate.promise }))
      const id = await batches.submit(chatLines(100))
      await batches.until(id, 'ten lines', ({ request_counts: counts }) => counts.completed === 10)
      await change(id, { expires_at: new Date() })
      const batch = await batches.ended(id)
      gate.resolve()
      assert.equal(batch.status, 'expired')
      assert.deepEqual(batch.request_counts, { total: 100, completed: 10, failed: 90 })
      const { output, errors } = await batches.results(id)
      assert.equal(output.length, 10)
      assert.ok(errors.every(({ error }) => error?.code === 'batch_expired'))
    })

    test('a budget that is spent fails the rest, or has it wait until there is money', async () => {
      // A line costs about 10 cents, and has to be paid for with more than 20 beforehand.
      const keys = await createKeys(stack.client, [stack.url])
      const key = await keys.make({ max_budget: 0.5 })
      const poor = createBatches(stack.url, key.key)
      const body = { max_tokens: 5 }
      const failed = await poor.ended(await poor.submit(chatLines(20, body)))
      assert.equal(failed.status, 'completed')
      const { completed, failed: refused } = failed.request_counts
      assert.ok(completed >= 1 && completed <= 5, `${completed} were paid for`)
      assert.equal(completed + refused, 20)
      const { errors } = await poor.results(failed.id)
      assert.ok(errors.every(({ response }) => response?.status_code === 429))
      assert.match(JSON.stringify(errors[0]?.response?.body), /Budget exceeded/)

      const { started } = fake.counts
      const id = await poor.submit(chatLines(3, body), { on_budget_exceeded: 'wait' })
      await poor.until(id, 'its start', ({ status }) => status === 'in_progress')
      await stack.client.post('/key/update', { key: key.key, max_budget: 10 })
      await poor.tell(id, 'resume')
      const waited = await poor.ended(id)
      assert.deepEqual(waited.request_counts, { total: 3, completed: 3, failed: 0 })
      assert.equal(fake.counts.started, started + 3)
      await keys.close()
    })

    test('a key that is regenerated goes on paying for its batches; one that is deleted ends them', async () => {
      const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
      let gate = 0
      fake.setBehaviour(() => ({ gate: (gates[gate] ?? gates[0])?.promise ?? null }))
      const keys = await createKeys(stack.client, [stack.url])
      const key = await keys.make({})
      const id = await createBatches(stack.url, key.key).submit(chatLines(60))
      await fake.until(({ concurrent }) => concurrent === slots)
      const regenerated = await stack.client.post('/key/regenerate', { key: key.key })
      assert.equal(regenerated.status, 200, regenerated.text)
      gates[0]?.resolve()
      const batch = await batches.ended(id)
      assert.deepEqual(batch.request_counts, { total: 60, completed: 60, failed: 0 })

      gate = 1
      const text = z.object({ key: z.string() }).parse(regenerated.json).key
      const last = await createBatches(stack.url, text).submit(chatLines(60))
      await fake.until(({ concurrent }) => concurrent === slots)
      await stack.client.post('/key/delete', { keys: [key.id] })
      gates[1]?.resolve()
      const { completed, failed } = (await batches.ended(last)).request_counts
      assert.ok(failed > 0 && completed < 60, `${completed} were answered`)
      const { errors } = await batches.results(last)
      assert.ok(errors.every(({ response }) => response?.status_code === 401))
      await keys.close()
    })

    test('whoever asks while a batch runs waits for one turn of a slot, and the batch goes on after', async () => {
      const turns: string[] = []
      const gates: (() => void)[] = []
      fake.setBehaviour(({ body }) => {
        turns.push(String(body.user))
        const { promise, resolve } = Promise.withResolvers<void>()
        gates.push(resolve)
        return { gate: promise }
      })
      const id = await batches.submit(chatLines(20, { model: 'narrow', user: 'line' }))
      const ahead = limitFor(1) - 1
      await untilWaiting(stack.client, 'narrow', ahead)
      const people = ['Ann', 'Bob', 'Eve']
      const asked = people.map((user) => {
        const messages = [{ role: 'user', content: 'hello' }]
        return stack.client.post('/v1/chat/completions', { model: 'narrow', messages, user })
      })
      await untilWaiting(stack.client, 'narrow', ahead + people.length)
      for (let turn = 1; turn <= 20 + people.length; turn++) {
        await eventually(`turn ${turn}`, () => gates.length === turn)
        gates[turn - 1]?.()
      }
      for (const answer of await Promise.all(asked)) assert.equal(answer.status, 200, answer.text)
      assert.equal(turns[0], 'line')
      assert.deepEqual(turns.slice(1, 1 + people.length).toSorted(), people)
      assert.equal((await batches.ended(id)).request_counts.completed, 20)
    })

    test('no line starts before its time', async () => {
      const { started } = fake.counts
      const tomorrow = Math.floor(Date.now() / 1_000) + 10_000
      const id = await batches.submit(chatLines(10), { not_before: tomorrow })
      await batches.until(id, 'its validation', ({ status }) => status === 'in_progress')
      // Another batch has come and gone meanwhile.
      await batches.ended(await batches.submit(chatLines(1)))
      assert.equal(fake.counts.started, started + 1)
      await change(id, { not_before: new Date() })
      const batch = await batches.ended(id)
      assert.equal(batch.request_counts.completed, 10)
    })

    test('a disk that is full keeps a batch from ending, until there is space again', async () => {
      const refused = Promise.withResolvers<void>()
      disk.full = null
      const id = await batches.submit(chatLines(40), {
        not_before: Math.floor(Date.now() / 1_000) + 10_000,
      })
      // Only now: the input has to be stored.
      disk.full = refused.resolve
      await change(id, { not_before: new Date() })
      await refused.promise
      assert.equal((await batches.read(id)).status, 'finalizing')
      disk.full = null
      const batch = await batches.ended(id)
      assert.equal(batch.status, 'completed')
      assert.equal((await batches.results(id)).output.length, 40)
    })

    test('the trace of the request that made a batch goes on through its jobs to its lines', async (t) => {
      if (collector === null) return t.skip('is tested once')
      const traceId = '0af7651916cd43dd8448eb211c80319c'
      const { openai } = batches
      const file = await toFile(Buffer.from(chatLine('traced')), 'traced.jsonl')
      const { id: fileId } = await openai.files.create({ file, purpose: 'batch' })
      const created = await openai.batches.create(
        { input_file_id: fileId, endpoint: '/v1/chat/completions', completion_window: '24h' },
        { headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` } },
      )
      await batches.ended(created.id)
      await stack.stop('batch')
      const own = collector.spans.filter((span) => span.traceId === traceId)
      const names = new Set(own.map(({ name }) => name))
      assert.ok(names.has(`chat ${batchModel}`), [...names].join())
      assert.ok(names.has('process penstock-batch'), [...names].join())
    })

    // The last one: it stops the runner that the others have.
    test('lines start inside a window alone, and go on when it opens again', async () => {
      const hourMs = 3_600_000
      let ahead = 0
      await stack.stop('batch')
      const runner = await startBatchRunner({
        config: stack.config,
        natsUrl: servers.natsUrl,
        databaseUrl: servers.databaseUrl,
        redisUrl: servers.redis?.url ?? null,
        storage: await storageOn(disk, servers.directory),
        secret: testSecret,
        log: silent,
        now: () => Date.now() + ahead,
      })
      /** It looks at what changed at once; another batch comes and goes by then. */
      const seen = async (id: string) => {
        await batches.tell(id, 'resume')
        await batches.ended(await batches.submit(chatLines(1, { model: 'narrow' })))
      }
      const gate = Promise.withResolvers<void>()
      fake.setBehaviour(({ body }) => (body.user === 'night' ? { gate: gate.promise } : {}))
      const started = () => fake.calls.filter(({ body }) => body.user === 'night').length
      // Opens in two hours, for one.
      const clock = (at: number) => new Date(at).toISOString().slice(11, 16)
      const opens = Date.now() + 2 * hourMs
      const window = `${clock(opens)}-${clock(opens + hourMs)} UTC`
      const plan = { window, completion_window: '3d' }
      try {
        const id = await batches.submit(chatLines(200, { user: 'night' }), plan)
        await batches.until(id, 'its validation', ({ status }) => status === 'in_progress')
        await seen(id)
        assert.equal(started(), 0)
        ahead = 2.5 * hourMs
        await fake.until(({ concurrent }) => concurrent === slots)
        ahead = 3.5 * hourMs
        // What was sent ahead of the slots may still run.
        await seen(id)
        gate.resolve()
        await fake.until(({ concurrent }) => concurrent === 0)
        await seen(id)
        const begun = started()
        assert.ok(begun >= slots && begun <= limitFor(slots), `${begun} lines`)
        await seen(id)
        assert.equal(started(), begun)
        assert.equal((await batches.read(id)).status, 'in_progress')
        ahead = 26.5 * hourMs
        const batch = await batches.ended(id)
        assert.deepEqual(batch.request_counts, { total: 200, completed: 200, failed: 0 })
        assert.equal(started(), 200)
      } finally {
        gate.resolve()
        await runner.close()
      }
    })
  })
}
