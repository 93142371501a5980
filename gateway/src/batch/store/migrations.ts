// The tables of files and batches. Postgres is the truth about a batch; BullMQ's jobs, on Postgres or
// on Redis, only drive it, and what they lose is put back from here.
//
// Ids are time-ordered: their order is the order in which files and batches were made, which is what
// lists go by.
import { type Kysely, sql } from 'kysely'
import type { Migration } from 'kysely/migration'

const filesAndBatches: Migration = {
  async up(db: Kysely<unknown>): Promise<void> {
    // state: `writing` until the bytes are in the storage whole, `removing` while they are taken out
    // of it. Nobody is shown such a file; one that a crash left so is swept away.
    await sql`
      create table batch_file (
        file_id text collate "C" primary key,
        state text not null default 'writing' check (state in ('writing', 'ready', 'removing')),
        purpose text not null default '',
        filename text not null default '',
        bytes bigint not null default 0,
        key_id text collate "C",
        user_id text collate "C",
        team_id text collate "C",
        created_at timestamptz(3) not null default now(),
        expires_at timestamptz(3)
      )`.execute(db)
    await sql`create index batch_file_expiry on batch_file (expires_at)
      where expires_at is not null`.execute(db)
    await sql`create index batch_file_unready on batch_file (created_at)
      where state <> 'ready'`.execute(db)
    await sql`create index batch_file_key on batch_file (key_id, file_id)`.execute(db)

    // dialect: of the API that made it. by_admin: with the master key, or by anybody where the gateway is
    // open; otherwise what the key may do is looked up.
    // unasked: of those that failed, what a cancellation or the end of time left undone; known at the end.
    // lines_per_second: over the last minute, as the runners measured it.
    await sql`
      create table batch (
        batch_id text collate "C" primary key,
        dialect text not null default 'chat',
        status text not null,
        endpoint text not null,
        input_file_id text collate "C" not null,
        output_file_id text collate "C",
        error_file_id text collate "C",
        completion_window text not null,
        output_expires_seconds integer,
        metadata jsonb,
        errors jsonb,
        on_budget_exceeded text not null default 'fail',
        not_before timestamptz(3),
        off_peak text,
        paused boolean not null default false,
        correlation_id text not null,
        traceparent text,
        key_id text collate "C",
        by_admin boolean not null,
        user_id text collate "C",
        team_id text collate "C",
        total integer not null default 0,
        completed integer not null default 0,
        failed integer not null default 0,
        unasked integer not null default 0,
        lines_per_second real,
        created_at timestamptz(3) not null default now(),
        in_progress_at timestamptz(3),
        expires_at timestamptz(3) not null,
        finalizing_at timestamptz(3),
        completed_at timestamptz(3),
        failed_at timestamptz(3),
        expired_at timestamptz(3),
        cancelling_at timestamptz(3),
        cancelled_at timestamptz(3)
      )`.execute(db)
    await sql`create index batch_owner on batch (key_id, batch_id)`.execute(db)
    await sql`create index batch_input on batch (input_file_id)`.execute(db)
    await sql`create index batch_live on batch (status)
      where status in ('validating', 'in_progress', 'finalizing', 'cancelling')`.execute(db)

    // A run of lines, and where its bytes are in the input file: one job. version: how often lines of it
    // were put back; whoever runs it may call it done only while that has not changed.
    await sql`
      create table batch_slice (
        batch_id text collate "C" not null references batch on delete cascade,
        slice integer not null,
        first_line integer not null,
        lines integer not null,
        byte_offset bigint not null,
        byte_length bigint not null,
        done boolean not null default false,
        version integer not null default 0,
        primary key (batch_id, slice)
      )`.execute(db)

    // The one result of a line: written once, whatever is run again. `line`: what stands in the output
    // or error file. dead: its retries were used up, and it may be redriven.
    await sql`
      create table batch_result (
        batch_id text collate "C" not null references batch on delete cascade,
        line_number integer not null,
        ok boolean not null,
        dead boolean not null default false,
        attempts integer not null,
        line text not null,
        finished_at timestamptz(3) not null default now(),
        primary key (batch_id, line_number)
      )`.execute(db)
    await sql`create index batch_result_dead on batch_result (batch_id, line_number)
      where dead`.execute(db)
  },
}

/** Every migration, in the order in which they run. A name, once released, never changes. */
export const batchMigrations: Record<string, Migration> = {
  '2026-01-files-and-batches': filesAndBatches,
}
