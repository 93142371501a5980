// Keys, teams, users and budgets; the accounts that spend is counted in, and what is reserved there.
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  // A key is known by an id that has nothing to do with the key: it survives a regeneration, and
  // showing it tells nothing.
  for (const table of ['request_log', 'ledger']) {
    await sql`alter table ${sql.table(table)} rename column key_hash to key_id`.execute(db)
  }

  // One row: every change of what keys may do counts it up, and the row's lock puts the changes in
  // the order of their commits.
  // secret_fingerprint: HMAC of a fixed text; under another server secret no key would be known.
  await sql`
    create table access_state (
      single boolean primary key default true check (single),
      version bigint not null default 0,
      secret_fingerprint text
    )`.execute(db)
  await sql`insert into access_state default values`.execute(db)

  // Amounts are pico-dollars. A budget is a set of limits that keys, teams and users can share;
  // each of them is held to it by an account of its own.
  await sql`
    create table budget (
      budget_id text collate "C" primary key,
      max_budget numeric(38, 0),
      soft_budget numeric(38, 0),
      max_tokens_budget bigint,
      budget_duration text,
      budget_timezone text,
      rpm_limit bigint,
      tpm_limit bigint,
      max_parallel_requests integer,
      model_max_budget jsonb not null default '{}',
      created_at timestamptz(3) not null default now(),
      created_by text,
      updated_at timestamptz(3) not null default now()
    )`.execute(db)

  const limits = sql.raw(`
    budget_id text collate "C" references budget,
    models text[] not null default '{}',
    tags text[] not null default '{}',
    metadata jsonb not null default '{}',
    blocked boolean not null default false,
    rpm_limit bigint,
    tpm_limit bigint,
    max_parallel_requests integer,
    model_limits jsonb not null default '{}',
    store_prompts boolean,
    created_at timestamptz(3) not null default now(),
    created_by text,
    updated_at timestamptz(3) not null default now()`)
  await sql`
    create table team (
      team_id text collate "C" primary key,
      team_alias text,
      organization_id text,
      aliases jsonb not null default '{}',
      ${limits}
    )`.execute(db)
  await sql`
    create table app_user (
      user_id text collate "C" primary key,
      user_alias text,
      user_email text,
      user_role text not null default 'internal_user',
      ${limits}
    )`.execute(db)
  await sql`create unique index app_user_email on app_user (lower(user_email))`.execute(db)
  await sql`
    create table team_member (
      team_id text collate "C" not null references team on delete cascade,
      user_id text collate "C" not null references app_user on delete cascade,
      role text not null check (role in ('admin', 'user')),
      added_at timestamptz(3) not null default now(),
      primary key (team_id, user_id)
    )`.execute(db)
  await sql`create index team_member_user on team_member (user_id)`.execute(db)
  // secret_hash: HMAC-SHA-256 of the key under the server's secret.
  await sql`
    create table api_key (
      key_id text collate "C" primary key,
      secret_hash bytea not null unique,
      key_name text not null,
      key_alias text unique,
      user_id text collate "C" references app_user,
      team_id text collate "C" references team,
      expires_at timestamptz(3),
      aliases jsonb not null default '{}',
      regenerated_at timestamptz(3),
      ${limits}
    )`.execute(db)
  await sql`create index api_key_user on api_key (user_id) where user_id is not null`.execute(db)
  await sql`create index api_key_team on api_key (team_id) where team_id is not null`.execute(db)

  // What an owner has spent, what of it in the current period, and what is set aside. The limits are
  // here, and not with the owner, so that one statement can compare them. Every key, team and user that
  // ever spent has a row for model ''; others exist where there is a budget for a model.
  // A check of the table would be parsed anew by every update.
  await sql`
    create domain account_kind as text check (value in ('key', 'team', 'user', 'member'))
    `.execute(db)
  await sql`
    create table account (
      kind account_kind not null,
      owner text collate "C" not null,
      model text collate "C" not null default '',
      max_amount numeric(38, 0),
      soft_amount numeric(38, 0),
      max_tokens bigint,
      period text,
      zone text,
      period_start timestamptz(3) not null default '-infinity',
      resets_at timestamptz(3),
      period_amount numeric(38, 0) not null default 0,
      period_tokens bigint not null default 0,
      total_amount numeric(38, 0) not null default 0,
      total_tokens bigint not null default 0,
      reserved_amount numeric(38, 0) not null default 0,
      reserved_tokens bigint not null default 0,
      soft_notified_at timestamptz(3),
      primary key (kind, owner, model)
    ) with (fillfactor = 60)`.execute(db)
  await sql`
    create table reservation (
      request_id text collate "C" not null,
      kind text not null,
      owner text collate "C" not null,
      model text collate "C" not null,
      amount numeric(38, 0) not null,
      tokens bigint not null,
      expires_at timestamptz(3) not null,
      primary key (kind, owner, model, request_id)
    )`.execute(db)
  await sql`create index reservation_expiry on reservation (expires_at)`.execute(db)
  await sql`create index reservation_request on reservation (request_id)`.execute(db)

  // Sums of the ledger by day (UTC, of occurred_at): what reports are made of. '' stands for none.
  await sql`
    create table daily_spend (
      day date not null,
      key_id text collate "C" not null,
      user_id text collate "C" not null,
      team_id text collate "C" not null,
      model_group text collate "C" not null,
      provider text collate "C" not null,
      model text collate "C" not null,
      amount numeric(38, 0) not null default 0,
      prompt_tokens bigint not null default 0,
      completion_tokens bigint not null default 0,
      requests bigint not null default 0,
      failures bigint not null default 0,
      primary key (day, key_id, user_id, team_id, model_group, provider, model)
    ) with (fillfactor = 70)`.execute(db)
  await sql`
    create table daily_tag_spend (
      day date not null,
      tag text collate "C" not null,
      key_id text collate "C" not null,
      amount numeric(38, 0) not null default 0,
      prompt_tokens bigint not null default 0,
      completion_tokens bigint not null default 0,
      requests bigint not null default 0,
      failures bigint not null default 0,
      primary key (day, tag, key_id)
    ) with (fillfactor = 70)`.execute(db)

  // Every admin change: who, what, and how it was before and after; never a key or a hash.
  await sql`
    create table audit_log (
      id bigint generated always as identity primary key,
      at timestamptz(3) not null default now(),
      actor_role text not null,
      actor_key_id text,
      actor_user_id text,
      correlation_id text not null,
      operation text not null,
      object_kind text not null,
      object_id text not null,
      before jsonb,
      after jsonb
    )`.execute(db)
  await sql`create index audit_log_object on audit_log (object_kind, object_id, at)`.execute(db)
}
