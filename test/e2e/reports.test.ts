// Questions about spend, over HTTP, on real servers: who sees what, and how it is shown.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { SpendLogRow } from '@penstock/shared/contracts/spend'
import { sql } from 'kysely'
import type { Client } from '../harness/client.ts'
import { eventually } from '../harness/eventually.ts'
import {
  type Activity,
  keyOf,
  may,
  type Reports,
  record,
  rows,
  spent,
  startReports,
} from './reports-setup.ts'

let reports: Reports

before(async () => {
  reports = await startReports()
  await record(reports, may)
})
after(() => reports.close())

async function idsOf(client: Client, query: string): Promise<string> {
  const found = await rows(client, `/spend/logs?summarize=false${query}`)
  return found
    .map((row) => row.request_id)
    .sort()
    .join(' ')
}

test('rows are found by any filter, and by several at once', async () => {
  const cases: [query: string, found: string][] = [
    ['', 'a1 a2 a3 b1 b2 c1 d1'],
    ['&api_key=key_ann', 'a1 a2 a3'],
    [`&api_key=${keyOf('ann')}`, 'a1 a2 a3'],
    ['&api_key=sk-nobody-has-this-key', ''],
    ['&user_id=bob', 'b1 b2'],
    ['&team_id=red', 'a1 a2 a3 d1'],
    ['&model=m1', 'a1 b1 c1'],
    ['&model_group=small', 'a1'],
    ['&tag=eval', 'a3 b1'],
    ['&status=failure', 'a2'],
    ['&end_user=e1', 'd1'],
    ['&request_id=c1', 'c1'],
    ['&team_id=red&tag=night&start_date=2026-05-02', 'a3'],
    ['&start_date=2026-05-02&end_date=2026-05-02', 'a2 a3 c1'],
  ]
  for (const [query, found] of cases) assert.equal(await idsOf(reports.master, query), found, query)
  // A period means a summary, but not where a summary could not answer.
  const period = 'start_date=2026-05-01&end_date=2026-05-03'
  const failed = await rows(reports.master, `/spend/logs?${period}&status=failure`)
  assert.equal(failed[0]?.request_id, 'a2')
  assert.equal((await reports.master.get('/spend/logs?limit=0')).status, 400)
  for (const query of ['status=odd', 'summarize=true&tag=x', 'format=xml', 'cursor=x']) {
    assert.equal((await reports.master.get(`/spend/logs?${period}&${query}`)).status, 400, query)
  }
})

test('everybody sees its own, an admin of a team the rows of the team, the master all', async () => {
  const { master, as } = reports
  const seen: [Client, string][] = [
    [master, 'a1 a2 a3 b1 b2 c1 d1'],
    [as.ann, 'a1 a2 a3'],
    [as.boss, 'a1 a2 a3 c1 d1'],
    [as.bob, 'b1 b2'],
  ]
  const lists = ['keys', 'users', 'teams', 'models', 'tags'].map((list) => `/spend/${list}`)
  for (const [client, ids] of seen) {
    assert.equal(await idsOf(client, ''), ids)
    const seenEvents = may.filter((event) => ids.includes(event.requestId))
    const amount = seenEvents.reduce((sum, { usage }) => sum + usage.promptTokens, 0)
    const [total] = await rows(client, '/spend/logs?start_date=2026-05-01&end_date=2026-05-03')
    assert.ok(total)
    const global = (await client.get('/global/spend')).json
    assert.deepEqual(global, { spend: amount / 10, spend_usd: `${amount / 10}`, max_budget: null })
    for (const path of [...lists, '/global/spend/report?group_by=day']) {
      if (path === '/spend/tags') continue
      const sum = (await rows(client, path)).reduce((all, row) => all + Number(row.spend), 0)
      assert.equal(sum.toFixed(1), (amount / 10).toFixed(1), path)
    }
    for (const scope of ['user', 'team']) {
      const period = 'start_date=2026-05-01&end_date=2026-05-03'
      const { text } = await client.get(`/${scope}/daily/activity?${period}`)
      assert.equal(text.includes('key_bob'), client === master || client === as.bob, scope)
    }
  }
  // Whatever it asks for, a key gets nothing of another's.
  for (const query of ['&api_key=key_ann', '&user_id=ann', '&team_id=red', '&request_id=a1']) {
    assert.equal(await idsOf(as.bob, query), '', query)
  }
  const tagsOf = async (client: Client) =>
    (await rows(client, '/spend/tags')).map(({ tag, spend }) => [tag, spend])
  assert.deepEqual(await tagsOf(master), [
    ['eval', 1.2],
    ['night', 0.5],
  ])
  assert.deepEqual(await tagsOf(as.boss), [
    ['night', 0.5],
    ['eval', 0.4],
  ])
  assert.deepEqual(await tagsOf(as.bob), [['eval', 0.8]])
})

test('totals by anything, the dearest first, of a period, as a list or as CSV', async () => {
  const named: [by: string, name: string, order: string][] = [
    ['team', 'team_id', 'red: 7.1,: 3.2,blue: 2.4'],
    ['key', 'api_key', 'key_gone: 6.4,key_boss: 3.2,key_bob: 2.4,key_ann: 0.7'],
    ['user', 'user_id', 'gil: 6.4,boss: 3.2,bob: 2.4,ann: 0.7'],
    ['provider', 'provider', 'openai: 12.3,ollama: 0.4'],
    ['model_group', 'model_group', 'smart: 12.6,small: 0.1'],
    ['day', 'date', '2026-05-01: 0.9,2026-05-02: 3.8,2026-05-03: 8'],
  ]
  for (const [by, name, order] of named) {
    const found = await rows(reports.master, `/global/spend/report?group_by=${by}`)
    assert.equal(found.map((row) => `${row[name]}: ${row.spend}`).join(','), order, by)
  }
  const [first, second] = await rows(reports.master, '/spend/keys?end_date=2026-05-02&limit=2')
  assert.deepEqual([first?.api_key, second?.api_key], ['key_boss', 'key_bob'])
  assert.partialDeepStrictEqual(first, {
    key_alias: 'the key of boss',
    user_id: 'boss',
    spend: 3.2,
  })
  const models = await rows(reports.master, '/spend/models?user_id=ann')
  assert.deepEqual(models[1], {
    model: 'm2',
    spend: 0.2,
    spend_usd: '0.2',
    prompt_tokens: 2,
    completion_tokens: 0,
    total_tokens: 2,
    api_requests: 1,
    successful_requests: 0,
    failed_requests: 1,
  })
  const csv = await reports.master.get('/global/spend/report?group_by=user&format=csv&user_id=ann')
  assert.equal(
    csv.text,
    'user_id,user_alias,user_email,spend,prompt_tokens,completion_tokens,total_tokens,' +
      'api_requests,successful_requests,failed_requests\r\n' +
      'ann,,ann@example.org,0.7,7,0,7,3,2,1\r\n',
  )
  for (const path of ['/global/spend/report?group_by=moon', '/spend/tags?team_id=red']) {
    assert.equal((await reports.master.get(path)).status, 400, path)
  }
})

test('daily activity has the days of the period, newest first, in pages', async () => {
  const period = 'start_date=2026-05-01&end_date=2026-05-31'
  const ask = async (path: string) => (await reports.master.get(path)).json as Activity
  const { results, metadata } = await ask(`/user/daily/activity?${period}&page_size=2`)
  assert.deepEqual(
    results.map((day) => day.date),
    ['2026-05-03', '2026-05-02'],
  )
  const metrics = {
    spend: 3.8,
    prompt_tokens: 38,
    completion_tokens: 0,
    total_tokens: 38,
    api_requests: 3,
    successful_requests: 2,
    failed_requests: 1,
  }
  const [, second] = results
  assert.deepEqual(second?.metrics, metrics)
  assert.deepEqual(Object.keys(second.breakdown.models ?? {}), ['m1', 'gpt-4o', 'm2'])
  assert.partialDeepStrictEqual(second.breakdown.api_keys, {
    key_ann: { metrics: { spend: 0.6 }, metadata: { key_alias: 'the key of ann', team_id: 'red' } },
  })
  assert.partialDeepStrictEqual(second.breakdown.entities, { boss: { metrics: { spend: 3.2 } } })
  assert.deepEqual(metadata, {
    total_spend: 12.7,
    total_prompt_tokens: 127,
    total_completion_tokens: 0,
    total_tokens: 127,
    total_api_requests: 7,
    total_successful_requests: 6,
    total_failed_requests: 1,
    page: 1,
    total_pages: 2,
    has_more: true,
  })
  const last = await ask(`/user/daily/activity?${period}&page_size=2&page=2`)
  assert.deepEqual(
    last.results.map((day) => day.date),
    ['2026-05-01'],
  )
  assert.equal(last.metadata.has_more, false)
  const team = await ask(`/team/daily/activity?${period}&team_ids=red,none`)
  assert.equal(team.metadata.total_spend, 7.1)
  assert.partialDeepStrictEqual(team.results[0]?.breakdown.entities, {
    red: { metrics: { spend: 6.4 }, metadata: { team_alias: 'Team red' } },
  })
  const others = await ask(`/team/daily/activity?${period}&exclude_team_ids=red`)
  assert.equal(others.metadata.total_spend, 2.4)
  const csv = (await reports.master.get(`/user/daily/activity?${period}&format=csv`)).text
  assert.match(csv, /^2026-05-02,,,3.8,38,0,38,3,2,1\r$/m)
  assert.match(csv, /^2026-05-02,models,m2,0.2,2,0,2,1,0,1\r$/m)
  assert.equal((await reports.master.get('/user/daily/activity?start_date=2026-05-01')).status, 400)
})

test('pages by cursor have each row once, while rows are added', async () => {
  const ids = Array.from({ length: 10 }, (_, at) => `p${at}`)
  const caller = { keyId: 'key_pages', userId: null, teamId: null, endUser: null }
  await record(
    reports,
    ids.map((id) => spent(id, 'ann', '2026-04-01', 1, { caller })),
  )
  const seen: string[] = []
  let cursor: string | null = ''
  for (let page = 0; page < 9 && cursor !== null; page++) {
    const query = `/spend/logs?api_key=key_pages&limit=3&cursor=${cursor}`
    const { json, headers } = await reports.master.get(query)
    const { data, next_cursor } = json as { data: SpendLogRow[]; next_cursor: string | null }
    assert.equal(headers.get('x-next-cursor'), next_cursor)
    seen.push(...data.map((row) => row.request_id))
    await record(reports, [spent(`q${page}`, 'ann', '2026-04-02', 1, { caller })])
    cursor = next_cursor
  }
  assert.deepEqual(seen, ids.toReversed())
  const { text, headers } = await reports.master.get(
    '/spend/logs?api_key=key_pages&limit=2&cursor=&format=csv',
  )
  assert.equal(text.split('\r\n').length, 4)
  assert.ok(headers.get('x-next-cursor'))
})

test('CSV holds the exact amounts, and nothing that a client sent can break or start a cell', async () => {
  const caller = { keyId: 'key_csv', userId: 'u', teamId: null, endUser: '=1+1,"x"\n' }
  const prices = { inputCostPerToken: 0.000_000_02 }
  await record(reports, [spent('v1', 'ann', '2026-03-01', 1, { caller, prices, tags: ['a', 'b'] })])
  const { text, headers } = await reports.master.get('/spend/logs?api_key=key_csv', {
    headers: { accept: 'text/csv' },
  })
  assert.match(String(headers.get('content-type')), /^text\/csv/)
  assert.match(text, /^startTime,request_id,attempt,status,/)
  assert.ok(text.includes(`,u,,"'=1+1,""x""\n","a,b",`), text)
  assert.ok(text.includes(',0.00000002,configured,'), text)
})

test('what was kept of a request is shown to whoever sees its row', async () => {
  const content = { request: '{"model":"smart"}', reply: 'data: {}\0', truncated: false }
  await record(reports, [spent('k1', 'ann', '2026-02-01', 1, { content })])
  const path = '/spend/logs/k1/content'
  for (const client of [reports.master, reports.as.ann, reports.as.boss]) {
    const { json } = await client.get(path)
    assert.deepEqual(json, {
      request_id: 'k1',
      attempts: [
        {
          attempt: 1,
          status: 'success',
          model_group: 'smart',
          startTime: '2026-02-01T12:00:00.000Z',
          request: { model: 'smart' },
          reply: 'data: {}\ufffd',
          truncated: false,
        },
      ],
    })
  }
  const other = await reports.as.bob.get(path)
  assert.equal(other.status, 404)
  const none = await reports.as.bob.get('/spend/logs/nowhere/content')
  assert.deepEqual(other.json, none.json)
  assert.equal((await reports.as.ann.get('/spend/logs/a1/content')).status, 404)
})

test('prompt and reply of a request are kept where the config asks for it', async () => {
  const { ann, bob } = reports.as
  const question = { model: 'lorem', messages: [{ role: 'user', content: 'Hello!' }] }
  const answer = await ann.post('/v1/chat/completions', question)
  assert.equal(answer.status, 200, answer.text)
  const row = await eventually('the row', async () => {
    return (await rows(ann, '/spend/logs?model_group=lorem'))[0]
  })
  const { json } = await ann.get(`/spend/logs/${row.request_id}/content`)
  const { attempts } = json as { attempts: Record<string, unknown>[] }
  assert.partialDeepStrictEqual(attempts, [{ request: question, reply: answer.json }])
  assert.equal((await bob.get(`/spend/logs/${row.request_id}/content`)).status, 404)
})

test('more than one message holds comes all the same: keys in pages, days in parts', async () => {
  const { db, master } = reports
  await sql`
    insert into daily_spend (day, key_id, user_id, team_id, model_group, provider, model, amount)
    select date '2025-01-01' + n % 20, 'key_' || n, '', '', 'm', 'p', 'm', 1000000000000
    from generate_series(1, 2600) as n`.execute(db)
  const period = 'start_date=2025-01-01&end_date=2025-01-31'
  const keys = await rows(master, `/global/spend/report?group_by=key&${period}`)
  assert.equal(new Set(keys.map((row) => row.api_key)).size, 2_600)
  assert.equal(keys.length, 2_600)
  const { results } = (await master.get(`/user/daily/activity?${period}`)).json as Activity
  assert.equal(new Set(results.map((day) => day.date)).size, 20)
  assert.equal(results.length, 20)
  for (const { metrics, breakdown } of results) {
    assert.partialDeepStrictEqual(metrics, { spend: 130 })
    assert.equal(Object.keys(breakdown.api_keys ?? {}).length, 100)
  }
})

test("a team's key sees its user's rows of that team alone, and no prompt of another", async () => {
  const { ann, boss, bob } = reports.as
  const content = { request: '{}', reply: 'secret', truncated: false }
  // Of bob, whose key is of the team blue: by himself, and in a team that he is in as well.
  const elsewhere = [
    { keyId: 'key_bob2', userId: 'bob', teamId: null, endUser: null },
    { keyId: 'key_bob3', userId: 'bob', teamId: 'green', endUser: null },
    { keyId: 'key_bob4', userId: 'bob', teamId: 'blue', endUser: null },
  ]
  await record(
    reports,
    elsewhere.map((caller, at) => spent(`team${at}`, 'bob', '2024-03-01', 1, { caller, content })),
  )
  const period = '&start_date=2024-03-01&end_date=2024-03-31'
  assert.equal(await idsOf(bob, period), 'team2')
  const statuses = ['team0', 'team1', 'team2'].map(
    async (id) => (await bob.get(`/spend/logs/${id}/content`)).status,
  )
  assert.deepEqual(await Promise.all(statuses), [404, 404, 200])
  const [total] = await rows(bob, `/spend/users?${period.slice(1)}`)
  assert.equal(total?.spend, 0.1)
  assert.equal(await idsOf(ann, period), '')
  // A key of no team has all that its user has.
  await record(reports, [
    spent('team3', 'boss', '2024-03-02', 1, {
      caller: { keyId: 'key_boss2', userId: 'boss', teamId: 'green', endUser: null },
    }),
  ])
  assert.equal(await idsOf(boss, period), 'team3')
})
