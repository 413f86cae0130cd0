-- How far each provider was asked for what its webhooks should have told. One row per provider, made by its first round.
create table webhook_polls (
    provider   text        primary key,
    begun_at   timestamptz not null,   -- nothing from before concerns this ledger
    seen_until timestamptz not null,   -- what was made before this instant has been asked for, and is in the inbox
    due_at     timestamptz not null,   -- of all processes, the one that moves it on asks next
    checked_at timestamptz,            -- when the last round came to its end
    constraint a_poll_does_not_look_before_its_beginning check (seen_until >= begun_at)
);


-- How an event came in: by its webhook, or found by the poller because no webhook had brought it.
alter table webhook_inbox add column source text not null default 'webhook';
alter table webhook_inbox add constraint an_event_has_a_known_source check (source in ('webhook', 'poller')) not valid;
alter table webhook_inbox validate constraint an_event_has_a_known_source;
create index webhook_inbox_missed_idx on webhook_inbox (provider, status) where source = 'poller';


-- The ledger's head when the event was claimed: whoever looked knows of all facts up to here.
alter table webhook_inbox add column seen_position bigint;

-- An order may come between the look that does not find it and the parking of what waits for it. Its release then finds
-- nothing parked, and the event would sleep until its next regular look. The lock of the appends, taken by many at a time,
-- leaves two cases: that order's append is over, and seen here; or it begins after us, and its release sees the parked row.
-- One function, so that a frozen process cannot hold the lock between two messages.
create function inbox_park(id bigint, waits_for text, look_at timestamptz, why text) returns void language plpgsql
    -- As ledger_append does, and for the same reason; and whoever holds its lock had better not scan anything.
    set jit = off
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
begin
    perform pg_advisory_xact_lock_shared(x'6c6564676572'::bigint);  -- 'ledger', see ledger_append
    update webhook_inbox i
       set status = 'parked', subject = waits_for, reason = why, leased_by = null, leased_until = null,
           -- Only by what is newer than the look: what it has seen and found wanting would be looked at for ever.
           due_at = case when exists (
               select from (select stream_id from orders where order_id = substr(waits_for, 1 + length('order:'))
                                                           and waits_for like 'order:%'
                            union all
                            select stream_id from orders where payment_id = substr(waits_for, 1 + length('payment:'))
                                                           and waits_for like 'payment:%'
                            union all
                            select stream_id from orders where source_transaction = substr(waits_for, 1 + length('payment:'))
                                                           and waits_for like 'payment:%') o
                -- The newest of its facts, by the primary key: an index on positions would be walked to find a maximum.
                where (select e.notification_id from ledger_events e where e.originator_id = o.stream_id
                        order by e.originator_version desc limit 1) > i.seen_position
           ) then now() else look_at end
     where i.inbox_id = id and i.status in ('stored', 'parked');
end $$;
