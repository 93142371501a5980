// Ten thousand lines while everything that works on them is killed once: each has one result, and the
// upstream was asked no more often than the ledger says.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { sql } from 'kysely'
import { connectBus } from '@penstock/shared/bus/connect'
import { listen } from '@penstock/shared/bus/broadcast'
import { channels } from '@penstock/shared/contracts/channels'
import { silent } from '../harness/servers.ts'
import { type FakeOpenAi, startFakeOpenAi } from '../fakes/openai.ts'
import { eventually } from '../harness/eventually.ts'
import { type Processes, type ServiceProcess, startProcesses } from '../harness/processes.ts'
import { type Servers, startServers } from '../harness/servers.ts'
import { batchModel, chatLine, createBatches } from './batch-setup.ts'

const masterKey = 'sk-of-the-batch-chaos'
const count = 10_000
const slots = 32
/** Calls that come to their end between two kills. */
const between = 900
const limitMs = 90_000

for (const backend of ['Redis'] as const) {
  describe(`chaos on ${backend}`, () => {
    let servers: Servers
    let fake: FakeOpenAi
    let penstock: Processes

    const last: Record<string, unknown> = {}
    before(async () => {
      servers = await startServers({ redis: backend === 'Redis' })
      fake = await startFakeOpenAi({ keepCalls: 3 * count })
      const params = {
        model: 'openai/gpt-4o-mini',
        api_base: fake.url,
        max_parallel_requests: slots,
      }
      penstock = await startProcesses({
        servers,
        config: {
          model_list: [{ model_name: batchModel, litellm_params: params }],
          general_settings: { master_key: masterKey },
        },
        env: servers.redis === null ? {} : { REDIS_URL: servers.redis.url },
      })
    })
    after(async () => {
      await penstock.close()
      await Promise.all([fake.close(), servers.close()])
    })

    /** Resolves when so many more calls came to their end. */
    async function progress(): Promise<void> {
      const { finished } = fake.counts
      console.log('progress from', finished, new Date().toISOString()); await fake.until((counts) => counts.finished >= Math.min(finished + between, count), 25_000).catch(async (e) => { await dump(); throw e })
    }

    async function dump(): Promise<void> {
      console.log(JSON.stringify(last, null, 1).slice(0, 3000))
      console.log(JSON.stringify((await penstock.client.get('/v1/queue')).json).slice(0, 1500))
      for (const r of running) console.log(r.service, r.pid, r.written.slice(-25).join('\n').slice(0, 6000))
      if (servers.redis) { const { Redis } = await import('ioredis'); const c = new Redis(servers.redis.url); for (const k of await c.keys('penstock:*')) { if (!/slice|stalled-check/.test(k)) console.log(k, await c.type(k), await c.type(k) === 'list' ? await c.llen(k) : await c.type(k) === 'zset' ? await c.zcard(k) : '') } c.disconnect() }
    }
    const running: ServiceProcess[] = []
    async function replace(process: ServiceProcess): Promise<void> {
      await penstock.kill(process, 'SIGKILL')
      running.push(await penstock.start(process.service))
      await progress()
    }

    test('workers, router, gateway, runner and servers are killed: no line is lost or doubled', async () => {
      const [first, second, router, runner] = await Promise.all([
        penstock.start('worker'),
        penstock.start('worker'),
        penstock.start('router'),
        penstock.start('batch'),
        penstock.start('billing'),
      ])
      running.push(first, second, router, runner)
      const bus = await connectBus({ natsUrl: servers.natsUrl, name: 'x', log: silent })
      listen(bus, silent, channels.batchReport, (r) => { last.report = r; last.at = new Date().toISOString() })
      const gateway = await penstock.startGateway()
      await penstock.ready()
      const names = Array.from({ length: count }, (_, index) => `line-${index}`)
      const lines = names.map((name) => chatLine(name, { user: name }))
      const id = await createBatches(gateway.url, masterKey).submit(lines)
      await progress()

      await replace(first)
      await replace(second)
      await replace(router)
      // From here on another gateway is asked.
      await penstock.kill(gateway, 'SIGKILL')
      const batches = createBatches(penstock.url, masterKey)
      await replace(runner)
      await servers.postgres.kill()
      await servers.postgres.start()
      await progress()
      if (servers.redis !== null) {
        await servers.redis.kill()
        await servers.redis.start()
      }

      const batch = await batches.ended(id, limitMs)
      assert.equal(batch.status, 'completed')
      const { output, errors } = await batches.results(id)
      assert.equal(batch.request_counts.completed, output.length)
      assert.equal(batch.request_counts.failed, errors.length)
      const found = [...output, ...errors].map(({ custom_id }) => custom_id)
      assert.deepEqual(found.toSorted(), names.toSorted())
      assert.deepEqual(errors, [])
      await booksAgree()
    })

    /** Calls beyond one a line are runs that were cut off, or whose answer nobody was left to take. */
    async function booksAgree(): Promise<void> {
      await fake.until(({ concurrent }) => concurrent === 0)
      const calls = Map.groupBy(fake.calls, ({ body }) => String(body.user))
      assert.equal(calls.size, count)
      await eventually('all usage in the books', async () => {
        const { rows } = await sql<{ name: string; attempts: number; interrupted: number }>`
          select end_user as name, count(*)::integer as attempts,
            count(*) filter (where status = 'interrupted')::integer as interrupted
          from request_log group by end_user`.execute(servers.db)
        const booked = rows.reduce((sum, row) => sum + row.attempts, 0)
        const cutOff = rows.reduce((sum, row) => sum + row.interrupted, 0)
        const made = fake.counts.started
        if (booked < made || made < booked - cutOff) return false
        for (const { name, attempts, interrupted } of rows) {
          const own = calls.get(name)?.length ?? 0
          assert.ok(own <= attempts && own >= attempts - interrupted, `${name}: ${own} calls`)
        }
        return true
      })
    }
  })
}
