// When a budget's period begins and ends. `<n>s|m|h` run for that long from where they begin; days,
// weeks (from Monday) and months are those of the calendar in a zone, whatever its clocks do.
import { type Kysely, sql } from 'kysely'

export async function up(db: Kysely<unknown>): Promise<void> {
  // All of them: null for a period that is null, which never begins anew.
  await sql`
    create function budget_period_unit(period text) returns text
    language sql immutable strict parallel safe
    return case substring(period from '[a-z]+$')
      when 's' then 'second' when 'm' then 'minute' when 'h' then 'hour'
      when 'd' then 'day' when 'w' then 'week' when 'mo' then 'month' end`.execute(db)
  await sql`
    create function budget_period_count(period text) returns integer
    language sql immutable strict parallel safe
    return substring(period from '^[0-9]+')::integer`.execute(db)

  // Where a new period begins that contains the moment. Never after it, although midnight can be
  // twice in a night.
  await sql`
    create function budget_period_start(period text, at timestamptz, zone text) returns timestamptz
    language sql stable strict parallel safe
    return case when budget_period_unit(period) in ('day', 'week', 'month')
      then least(at,
        date_trunc(budget_period_unit(period), at at time zone zone) at time zone zone)
      else at end`.execute(db)

  // The truncation mends a start that was not at midnight, because clocks skipped it.
  await sql`
    create function budget_period_end(period text, start timestamptz, zone text)
    returns timestamptz language sql stable strict parallel safe
    return case when budget_period_unit(period) in ('day', 'week', 'month')
      then (date_trunc(budget_period_unit(period), start at time zone zone)
        + budget_period_count(period) * ('1 ' || budget_period_unit(period))::interval)
        at time zone zone
      else start + budget_period_count(period) * ('1 ' || budget_period_unit(period))::interval
      end`.execute(db)

  // Where the period begins that contains the moment, when an earlier one began at start: any number
  // of periods may have gone by since. All begin in step with that one.
  await sql`
    create function budget_period_at(period text, start timestamptz, at timestamptz, zone text)
    returns timestamptz language plpgsql stable strict parallel safe as $$
    declare
      unit text := budget_period_unit(period);
      count integer := budget_period_count(period);
      length interval := count * ('1 ' || unit)::interval;
      first timestamp;
      now_there timestamp;
      units integer;
    begin
      if at <= start then return start; end if;
      if unit not in ('day', 'week', 'month') then
        return start + floor(extract(epoch from at - start) / extract(epoch from length)) * length;
      end if;
      first := date_trunc(unit, start at time zone zone);
      now_there := at at time zone zone;
      units := case unit
        when 'month' then 12 * (extract(year from now_there) - extract(year from first))
          + extract(month from now_there) - extract(month from first)
        when 'week' then floor((now_there::date - first::date) / 7.0)
        else now_there::date - first::date end;
      return least(at, (first + (units / count) * length) at time zone zone);
    end $$`.execute(db)

  // A changed period is summed up from the ledger. Entries come in the order of their time, nearly:
  // an index of block ranges costs the inserts nothing.
  await sql`create index ledger_occurred on ledger using brin (occurred_at)`.execute(db)
}
