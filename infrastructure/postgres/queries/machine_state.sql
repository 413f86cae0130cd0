-- record_check: a check has ended; a role that only reads cannot record it
insert into check_runs (kind, finished_at, findings, position, detail)
values (%(kind)s, now(), %(findings)s, %(position)s, %(detail)s)
on conflict (kind) do update
   set finished_at = excluded.finished_at, findings = excluded.findings, position = excluded.position,
       detail = excluded.detail;

-- checks: the newest end of each kind of check
select kind, finished_at, findings, position, detail from check_runs order by kind;

-- report_loops: the loops of this process; rows of processes that have not reported for a day are removed
with reported as (
    insert into process_loops (process, loop, host, pid, started_at, reported_at, progressed_at, trouble)
    select %(process)s, g.loop, %(host)s, %(pid)s, now() - g.age * interval '1 second', now(),
           now() - g.idle * interval '1 second', g.trouble
      from json_to_recordset(%(loops)s) as g (loop text, age float8, idle float8, trouble text)
    on conflict (process, loop) do update
       set reported_at = excluded.reported_at, progressed_at = excluded.progressed_at, trouble = excluded.trouble
)
delete from process_loops where reported_at < now() - interval '1 day';

-- end_loops: this process has drained
delete from process_loops where process = %(process)s;

-- loops: all loops that reported within a day
select process, loop, host, pid, started_at, reported_at, progressed_at, trouble,
       extract(epoch from now() - reported_at)::float8 as silent_seconds
  from process_loops order by host, started_at, process, loop;

-- machine: the state of the database and of the calls to Stripe; always one row
select now(), pg_is_in_recovery() or current_setting('transaction_read_only')::boolean,
       b.open, b.opened_at, b.probe_at,
       (select min(raised_at) from alarms where cleared_at is null and kind in ('sending_stopped', 'stripe_refuses_the_key')),
       (select detail from alarms where cleared_at is null and kind in ('sending_stopped', 'stripe_refuses_the_key')
         order by kind, raised_at limit 1),
       -- the longest wait among the events that are due
       greatest(0, extract(epoch from now() - (select due_at from webhook_inbox where status = 'stored' and due_at <= now()
                                                order by due_at limit 1))::float8),
       (select count(*) from alarms where cleared_at is null),
       (select l.mode from ledger_binding l), (select l.account from ledger_binding l)
  from breaker b;

-- rates: the endpoints that are limited, with the calls of the last seconds
select endpoint, share, greatest(0, extract(epoch from next_at - now()))::float8 as reserved_seconds,
       calls * exp(-least(50, greatest(0, extract(epoch from now() - coalesce(calls_at, now()))::float8 / %(window)s))) / %(window)s as per_second,
       slowed_at
  from pace order by endpoint;
