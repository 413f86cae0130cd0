-- A received webhook. The row is the job: there is no separate queue that could lose a webhook or run it twice.
create table webhook_inbox (
    inbox_id      bigint      generated always as identity primary key,
    provider      text        not null,
    event_id      text        not null,
    event_type    text        not null,
    body          bytea       not null,   -- as signed, byte by byte
    received_at   timestamptz not null,
    status        text        not null default 'stored',
    reason        text,
    subject       text,                   -- the key that a parked event waits for, for example an order id
    attempts      integer     not null default 0,
    due_at        timestamptz,
    leased_by     text,
    leased_until  timestamptz,
    handled_at    timestamptz,
    position      bigint,                 -- of the last fact that this event caused
    source        text        not null default 'webhook',  -- 'poller': found by the poller because no webhook had come
    seen_position bigint,                 -- the newest fact when the event was claimed: its handler knows all facts up to here

    constraint one_row_per_event unique (provider, event_id),
    constraint an_event_has_a_known_status check (
        status in ('stored', 'done', 'ignored', 'parked', 'dead', 'discarded')),
    constraint an_event_has_a_known_source check (source in ('webhook', 'poller')),
    constraint a_stored_event_is_due check (status <> 'stored' or due_at is not null),
    constraint a_parked_event_says_what_it_waits_for check (status <> 'parked' or subject is not null),
    constraint attempts_are_counted_from_zero check (attempts >= 0),
    constraint an_inbox_lease_has_a_holder_and_an_end check ((leased_by is null) = (leased_until is null))
)
with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);

-- New events before parked ones: thousands of parked events must not delay one that has just come.
create index webhook_inbox_due_idx on webhook_inbox (status, due_at, inbox_id)
    where status in ('stored', 'parked') and due_at is not null;
-- Closed events that still have their body, for INBOX_RETENTION.
create index webhook_inbox_bodies_idx on webhook_inbox (handled_at)
    where status in ('done', 'ignored', 'discarded') and body <> '';
create index webhook_inbox_parked_idx on webhook_inbox (subject) where status = 'parked';
-- `inbox_id > 0` is always true, and keeps this index for counts: see seller_transfers_status_idx.
create index webhook_inbox_unhandled_idx on webhook_inbox (status, inbox_id)
    where status in ('stored', 'parked', 'dead') and inbox_id > 0;
-- From a fact to the webhook that caused it: the audit trail reads by position.
create index webhook_inbox_position_idx on webhook_inbox (position) where position is not null;
create index webhook_inbox_missed_idx on webhook_inbox (provider, status) where source = 'poller';

-- An order may come between the query that does not find it and the parking of an event that waits for it. The release by
-- that order then finds no parked event, and the event would sleep until its next regular retry. Parking takes the lock of
-- ledger_append in shared mode, which leaves two cases: the append of the order is over, and is seen here; or that append
-- begins after the parking, and its release sees the parked row.
-- One function, so that a frozen process cannot hold the lock between two messages.
create function inbox_park(id bigint, waits_for text, look_at timestamptz, why text) returns boolean language plpgsql
    -- The same settings as ledger_append, for the same reason: a holder of its lock must not scan a table.
    set jit = off
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
begin
    perform pg_advisory_xact_lock_shared(x'6c6564676572'::bigint);  -- 'ledger', see ledger_append
    update webhook_inbox i
       set status = 'parked', subject = waits_for, reason = why, leased_by = null, leased_until = null,
           -- Only facts newer than the claim release the event: it was handled with the older ones, and would loop for ever.
           due_at = case when exists (
               select from (select stream_id from orders where order_id = substr(waits_for, 1 + length('order:'))
                                                           and waits_for like 'order:%'
                            union all
                            select stream_id from orders where payment_id = substr(waits_for, 1 + length('payment:'))
                                                           and waits_for like 'payment:%'
                            union all
                            select stream_id from orders where source_transaction = substr(waits_for, 1 + length('payment:'))
                                                           and waits_for like 'payment:%') o
                -- The newest fact of the order, by the primary key: PostgreSQL would scan an index on positions for a maximum.
                where (select e.notification_id from ledger_events e where e.originator_id = o.stream_id
                        order by e.originator_version desc limit 1) > i.seen_position
           ) then now() else look_at end
     where i.inbox_id = id and i.status in ('stored', 'parked');
    return found;
end $$;


-- How far each provider was asked for events whose webhooks may be lost. The first round of a provider creates its row.
create table webhook_polls (
    provider   text        primary key,
    begun_at   timestamptz not null,   -- events from before this instant do not concern this ledger
    seen_until timestamptz not null,   -- all events from before this instant are in the inbox
    due_at     timestamptz not null,   -- the process that moves this forward is the next to ask
    checked_at timestamptz,            -- the end of the last round
    constraint a_poll_does_not_look_before_its_beginning check (seen_until >= begun_at)
);


-- Jobs that a person starts for many transfers at once. The targets are chosen when the job begins, and a job goes on where
-- it was after a crash: `done` of them are handled, in their order.
create table bulk_jobs (
    job_id       text        primary key,
    kind         text        not null,
    filter       json        not null,
    actor        text        not null,
    reason       text        not null,
    targets      uuid[]      not null,
    done         integer     not null default 0,
    refused      integer     not null default 0,
    last_refusal text,
    -- The first of them, each with its transfer and the reason.
    refusals     jsonb       not null default '[]',
    created_at   timestamptz not null default now(),
    ended_at     timestamptz,
    cancelled_by text,
    cancel_reason text,
    leased_by    text,
    leased_until timestamptz,
    constraint a_bulk_job_has_a_known_kind check (kind in ('retry', 'replay_webhooks', 'discard_webhooks')),
    constraint a_bulk_job_is_bounded check (cardinality(targets) <= 10000),
    constraint a_bulk_job_counts_its_targets check (0 <= refused and refused <= done and done <= cardinality(targets)),
    constraint an_ended_bulk_job_is_done check ((ended_at is not null) = (done = cardinality(targets) or cancelled_by is not null)),
    constraint a_cancelled_bulk_job_has_a_reason check ((cancelled_by is null) = (cancel_reason is null))
);
create index bulk_jobs_open_idx on bulk_jobs (created_at) where ended_at is null;
create index bulk_jobs_newest_idx on bulk_jobs (created_at desc, job_id);


-- Alarms: conditions that a person has to look at. One row per kind and subject, however often it is raised.
create table alarms (
    kind         text        not null,
    subject      text        not null,
    detail       text        not null,
    -- Since when the condition lasts. An alarm that is raised again keeps it, unless it was cleared meanwhile.
    raised_at    timestamptz not null,
    last_seen_at timestamptz not null,
    times        bigint      not null constraint an_alarm_was_seen check (times > 0),
    cleared_at   timestamptz,
    primary key (kind, subject),
    constraint an_alarm_is_seen_after_it_is_raised check (last_seen_at >= raised_at)
);
create index alarms_open_idx on alarms (raised_at) where cleared_at is null;
create index alarms_latest_idx on alarms (last_seen_at desc, kind, subject);
create index alarms_of_subject_idx on alarms (subject) where cleared_at is null;


-- The rate limiter: the next free instant of each rate-limited endpoint; all processes reserve from the same row.
create table pace (
    endpoint  text             primary key,
    next_at   timestamptz      not null,
    -- The share of the configured rate that the last slowdown left; it grows again with time. A share and not a rate:
    -- processes with different configurations slow down and recover together.
    share     double precision not null default 1 constraint a_pace_never_stands_still check (0 < share and share <= 1),
    slowed_at timestamptz,
    -- The calls that were reserved lately: a sum that decays, so that it shows the present rate.
    calls     double precision not null default 0,
    calls_at  timestamptz,
    constraint a_slower_pace_says_since_when check (share = 1 or slowed_at is not null)
)
with (fillfactor = 50);


-- The circuit breaker: whether Stripe answers. One row from the start, so that every change is an update that waits for the
-- update before it.
create table breaker (
    single         boolean     primary key default true,
    open           boolean     not null default false,
    opened_at      timestamptz,
    closed_at      timestamptz,
    probe_at       timestamptz,          -- the earliest instant of the next probe
    probe_interval interval    not null default '5 seconds',

    constraint there_is_only_one_breaker check (single),
    constraint an_open_breaker_is_probed check (not open or (opened_at is not null and probe_at is not null)),
    constraint a_closed_breaker_is_not_probed check (open or probe_at is null),
    constraint probes_are_5_seconds_to_5_minutes_apart check (probe_interval between '5 seconds' and '5 minutes')
)
with (fillfactor = 50);
insert into breaker default values;


-- The mode and account that this database belongs to. One row: a start with another key must not mix test money with real
-- money. ledger_id is part of the idempotency keys and of the metadata at Stripe: two ledgers on one account may use equal ids.
create table ledger_binding (
    single   boolean     primary key default true,
    mode     text        not null,
    account  text,
    bound_at timestamptz not null default now(),
    ledger_id uuid not null default gen_random_uuid(),
    constraint there_is_only_one_binding check (single)
);


-- The newest end of each kind of check, for the overview: a check that has not run for long is a finding itself.
create table check_runs (
    kind        text        primary key,
    finished_at timestamptz not null,
    findings    bigint      not null constraint findings_are_counted_from_zero check (findings >= 0),
    position    bigint,                 -- of the newest fact that the check covered
    detail      text        not null,   -- one sentence
    constraint a_check_has_a_known_kind check (kind in ('verify', 'reconcile', 'seal'))
);

-- The sessions of the console that a person has signed out. Each sign-out deletes the rows of sessions that would have ended
-- by themselves, so the table holds the sign-outs of the last hours.
create table signed_out_sessions (
    digest  text        primary key,   -- SHA-256 of the cookie
    ends_at timestamptz not null
);

-- The differences of the newest reconciliation of their period, so that a person can decide about them later. A decision
-- is a fact, and has its row in findings. Each difference is read again at Stripe before it is adopted.
create table found_differences (
    finding_id         text        primary key,
    kind               text        not null,
    stripe_id          text        not null,
    stripe_transfer_id text        not null,
    transfer_id        uuid,
    reversal_id        text,
    at_risk            bigint      not null,
    currency           text        not null,
    detail             text        not null,
    obstacle           text,                   -- why it cannot be adopted
    awaits_others      boolean     not null,
    since              timestamptz not null,   -- the creation of the transfer
    found_at           timestamptz not null
);
create index found_differences_newest_idx on found_differences (found_at desc, finding_id desc);

-- The loops of each running process and their last progress. Each process writes its rows every few seconds.
create table process_loops (
    process       uuid        not null,
    loop          text        not null,
    host          text        not null,
    pid           integer     not null,
    started_at    timestamptz not null,
    reported_at   timestamptz not null,
    progressed_at timestamptz,            -- the end of the last turn without an error
    trouble       text,                   -- why the loop makes no progress
    primary key (process, loop)
);

-- The open money at the quarter hours of the last two days: the trend of the overview.
create table money_samples (
    at       timestamptz not null,
    currency text        not null,
    state    text        not null,
    amount   numeric     not null,
    number   bigint      not null,
    primary key (at, currency, state)
);


-- The amounts that are not settled, one row each. `state` is moving, waiting_for_funds, held, in_dispute, stuck or unknown;
-- `direction` is to_sellers, from_sellers or in_dispute. Each branch begins at open rows, by a partial index, so that no
-- cost grows with the settled rows. `stuck` is `state = 'stuck'`, for queries that ask for no other state: the unknown outcomes
-- cost a look at the facts of each open transfer. Text inside of strings has its quotes escaped, so it cannot pretend to be the
-- member `open`.
create view open_money as
select t.currency, 'to_sellers' as direction, t.amount, t.created_at as since, t.transfer_id::text as subject, t.transfer_id,
       t.order_id, t.seller_id, t.status, t.waiting_for, t.next_retry_at, t.last_error,
       case when t.doubtful then 'unknown'
            when t.waiting_for = 'funds' then 'waiting_for_funds'
            when t.waiting_for in ('account', 'payment', 'operator') or t.paused then 'held'
            else 'moving' end as state,
       false as stuck
  from (select o.*, o.last_error is not null and
               -- no EXISTS, which the planner would answer with the whole index in memory
               coalesce((select true from ledger_events
                 where originator_id = o.transfer_id and topic = 'ledger.seller_transfer.attempt_deferred'
                   and position('"open":true'::bytea in state) > 0 limit 1), false) and
               -- The outcome of a call is unknown: the last fact with an outcome says so, and no new operation has begun.
               (select e.topic = 'ledger.seller_transfer.attempt_deferred' and position('"open":true'::bytea in e.state) > 0
                  from (select topic, state, originator_version from ledger_events
                         where originator_id = o.transfer_id order by originator_version desc limit 10) e
                 where e.topic in ('ledger.seller_transfer.attempt_deferred', 'ledger.seller_transfer.failed',
                                   'ledger.seller_transfer.reopened', 'ledger.seller_transfer.reversal_requested')
                 order by e.originator_version desc limit 1) as doubtful,
               ('everything' in (select scope from pauses where paused)
                or 'work:transferring' in (select scope from pauses where paused)
                or 'seller:' || o.seller_id in (select scope from pauses where paused)
                or 'transferring:' || o.seller_id in (select scope from pauses where paused)) as paused
          from seller_transfers o
         where o.status in ('pending', 'failed') and o.created_at > '-infinity') t
union all
select r.currency, 'from_sellers', r.amount, r.created_at, r.reversal_id::text, r.transfer_id,
       r.order_id, r.seller_id, r.status, coalesce(r.sent_waits_for, r.waiting_for), r.next_retry_at, r.last_error,
       case when r.doubtful then 'unknown'
            when r.waiting_for = 'operator' then 'stuck'
            when r.sent_waits_for = 'funds' then 'waiting_for_funds'
            when r.sent_waits_for in ('account', 'payment', 'operator') or r.paused then 'held'
            else 'moving' end,
       case when r.waiting_for = 'operator' then r.doubtful is not true else false end
  from (select v.*, t.waiting_for as sent_waits_for, t.next_retry_at, t.last_error,
               v.status = 'requested' and t.last_error is not null and
               -- no EXISTS, which the planner would answer with the whole index in memory
               coalesce((select true from ledger_events
                 where originator_id = v.transfer_id and topic = 'ledger.seller_transfer.attempt_deferred'
                   and position('"open":true'::bytea in state) > 0 limit 1), false) and
               (select e.topic = 'ledger.seller_transfer.attempt_deferred' and position('"open":true'::bytea in e.state) > 0
                  from (select topic, state, originator_version from ledger_events
                         where originator_id = v.transfer_id order by originator_version desc limit 10) e
                 where e.topic in ('ledger.seller_transfer.attempt_deferred', 'ledger.seller_transfer.failed',
                                   'ledger.seller_transfer.reopened', 'ledger.seller_transfer.reversal_requested')
                 order by e.originator_version desc limit 1) as doubtful,
               ('everything' in (select scope from pauses where paused)
                or 'work:reversing' in (select scope from pauses where paused)
                or 'seller:' || v.seller_id in (select scope from pauses where paused)
                or 'reversing:' || v.seller_id in (select scope from pauses where paused)) as paused
          from transfer_reversals v join seller_transfers t on t.transfer_id = v.transfer_id
         where v.status in ('queued', 'requested')) r
union all
select r.currency, 'from_sellers', r.amount, r.created_at, r.reversal_id::text, r.transfer_id,
       r.order_id, r.seller_id, r.status, 'operator', null, t.last_error, 'stuck', true
  from transfer_reversals r join seller_transfers t on t.transfer_id = r.transfer_id
 where r.status = 'failed'
union all
-- A transfer that is given up for good has the same status as one that waits for a person: the open alarm tells them apart.
select t.currency, 'to_sellers', t.amount, t.created_at, t.transfer_id::text, t.transfer_id,
       t.order_id, t.seller_id, t.status, 'operator', null, t.last_error, 'stuck', true
  from (select distinct subject::uuid as transfer_id from alarms
         where cleared_at is null and kind in ('permanently_failed', 'evidence_held')) a
  join seller_transfers t on t.transfer_id = a.transfer_id
 where t.status = 'permanently_failed' and coalesce(t.stripe_transfer_id, '') = ''
   and not exists (select from transfer_reversals r where r.transfer_id = t.transfer_id and r.status = 'failed')
union all
select d.currency, 'in_dispute', d.amount, d.created_at, d.dispute_id, null,
       d.order_id, null, d.status, null, null, d.reason, 'in_dispute', false
  from disputes d
 where d.status in ('opened', 'challenged', 'withdrawn');
