// Ten thousand lines while everything that works on them is killed once: each has one result, and the
// upstream was asked no more often than the ledger says.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { sql } from 'kysely'
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
const connectionsCut = 4

for (const backend of ['Postgres', 'Redis'] as const) {
  describe(`chaos on ${backend}`, () => {
    let servers: Servers
    let fake: FakeOpenAi
    let penstock: Processes

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
      await fake.until((counts) => counts.finished >= Math.min(finished + between, count), 40_000)
    }

    async function replace(process: ServiceProcess): Promise<void> {
      await penstock.kill(process, 'SIGKILL')
      await penstock.start(process.service)
      await progress()
    }

    /**
     * Ends the connections of BullMQ as they are made, those that bring its tables up to date above all.
     * Nobody would start again what ends by it.
     */
    async function cutOffJobs(): Promise<void> {
      let ended = 0
      await eventually('connections to cut off', async () => {
        const { rows } = await sql<{ ended: number }>`
          select count(pg_terminate_backend(pid))::integer as ended
          from pg_stat_activity where application_name = 'penstock-batch-jobs'`.execute(servers.db)
        ended += rows[0]?.ended ?? 0
        return ended >= connectionsCut
      })
    }

    /** A gateway has a queue of its own once somebody looks at the board. */
    async function board(): Promise<void> {
      await eventually('the queue board', async () => {
        const { status } = await penstock.client.get('/admin/queues/api/queues')
        return status === 200
      })
    }

    test('workers, router, gateway, runner and servers are killed: no line is lost or doubled', async () => {
      const [first, second, router, runner] = await Promise.all([
        penstock.start('worker'),
        penstock.start('worker'),
        penstock.start('router'),
        penstock.start('batch'),
        penstock.start('billing'),
      ])
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
      await penstock.kill(runner, 'SIGKILL')
      await Promise.all([
        penstock.start('batch'),
        ...(servers.redis === null ? [cutOffJobs(), board()] : []),
      ])
      await progress()
      // From here on a runner or gateway that ends is missed: nobody starts it again.
      const ends =
        servers.redis === null ? (['kill', 'stop', 'stop'] as const) : (['kill'] as const)
      for (const end of ends) {
        await servers.postgres[end]()
        await servers.postgres.start()
        await progress()
      }
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
