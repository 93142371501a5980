// How usage is recorded: one function, so that its plans are made once per connection, with an array
// per column, which Postgres reads in half the time that it needs for rows as JSON.
import { type Kysely, sql } from 'kysely'
import { plans } from './2026-04-reservations.ts'

/** The request log's columns, in its order. */
const logged = {
  received_at: 'timestamptz',
  request_id: 'text',
  attempt: 'integer',
  correlation_id: 'text',
  status: 'text',
  error: 'jsonb',
  operation: 'text',
  stream: 'boolean',
  requested_model: 'text',
  model_group: 'text',
  deployment_id: 'text',
  provider: 'text',
  model: 'text',
  api_base: 'text',
  key_id: 'text',
  user_id: 'text',
  team_id: 'text',
  end_user: 'text',
  // Each one as the text of an array: arrays in an array would have to be of one length.
  tags: 'text',
  session_id: 'text',
  worker_id: 'text',
  started_at: 'timestamptz',
  first_token_at: 'timestamptz',
  ended_at: 'timestamptz',
  prompt_tokens: 'bigint',
  completion_tokens: 'bigint',
  cached_prompt_tokens: 'bigint',
  cache_write_tokens: 'bigint',
  audio_prompt_tokens: 'bigint',
  reasoning_tokens: 'bigint',
  audio_completion_tokens: 'bigint',
  usage_estimated: 'boolean',
  amount: 'numeric',
  price_source: 'text',
  traceparent: 'text',
}
/** What the log does not have: for the ledger, and for the prompts kept beside the log. */
const more = { unit_prices: 'jsonb', content: 'json' }

/** Columns that the ledger and the request log have in common, by name. */
const shared = `request_id, attempt, amount, price_source, prompt_tokens, completion_tokens,
  usage_estimated, key_id, user_id, team_id, end_user, tags, model_group, deployment_id, provider,
  model`

export async function up(db: Kysely<unknown>): Promise<void> {
  const columns = Object.entries({ ...logged, ...more })
  const parameters = sql.raw(
    columns.map(([name, type]) => `${name} ${type}[] default '{}'`).join(', '),
  )
  const all = sql.raw(columns.map(([name]) => name).join(', '))
  const given = sql.raw(columns.map(([name]) => `record_usage.${name}`).join(', '))
  const names = sql.raw(Object.keys(logged).join(', '))
  const both = sql.raw(shared)

  // All arrays are of one length; releases: [{requestId, within}] (contracts/budget.ts); at: the moment
  // that counts for leases and budget periods, null: now.
  // What is new stands in the ledger and in the log before an account is locked: reservations wait
  // for those locks. No entry is from the future, so that none is counted ahead of a period's begin.
  // A thousand rows, as come when much has gathered, are kept in memory and not in files.
  // @returns {added: [[request_id, attempt]], crossings: what settle_usage returns}
  await sql`
    create function record_usage(releases jsonb, at timestamptz, ${parameters})
    returns jsonb language plpgsql ${plans} set work_mem = '16MB' as $$
    #variable_conflict use_column
    declare
      moment timestamptz := coalesce(record_usage.at, now());
      added jsonb;
      entries usage_entry[];
    begin
      with incoming as materialized (
        select ${sql.raw(
          columns.map(([name]) => (name === 'tags' ? 'tags::text[] as tags' : name)).join(', '),
        )}
        from unnest(${given}) as t(${all})
      ), entered as (
        insert into ledger (kind, occurred_at, unit_prices, status, ${both})
        select 'usage', least(received_at, date_trunc('milliseconds', moment)), unit_prices, status,
          ${both}
        from incoming
        on conflict (request_id, attempt) where kind = 'usage' do nothing
        returning *
      ), logged as (
        insert into request_log (${names})
        select ${names} from incoming
        where (request_id, attempt) in (select request_id, attempt from entered)
      ), kept as (
        insert into request_content
        select received_at, request_id, attempt, content ->> 'request', content ->> 'reply',
          (content ->> 'truncated')::boolean
        from incoming
        where content is not null
          and (request_id, attempt) in (select request_id, attempt from entered)
      )
      select coalesce(jsonb_agg(jsonb_build_array(request_id, attempt)), '[]'),
        coalesce(array_agg(row(request_id, status, occurred_at, amount, prompt_tokens,
          completion_tokens, key_id, user_id, team_id, tags, model_group, provider, model)
          ::usage_entry), '{}')
      into added, entries
      from entered;

      return jsonb_build_object(
        'added', added, 'crossings', settle_usage(entries, record_usage.releases, moment));
    end $$`.execute(db)
}
