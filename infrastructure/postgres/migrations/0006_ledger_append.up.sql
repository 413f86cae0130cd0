-- The only way into ledger_events: one call, one transaction, one group of appends, stored completely or not at all.
--
-- facts: [{"id", "version", "topic", "state"}, ...] in the order in which they get their positions; state is JSON.
-- rows:  {"seller_transfers": [...], "transfer_reversals": [...], "orders": [...], "refunds": [...], "disputes": [...],
--         "payouts": [...], "pauses": [...], "findings": [...],
--         "alarms": [{"kind", "subject", "detail", "raised_at", "cleared_at"?}],
--         "webhook_inbox": [{"inbox_id", "status", "reason"?, "subject"?, "due_at"?, "stream"?, "version"?}],
--         "released": [{"subject"}], "probe": [true]}, every member optional.
-- Returns the position of the last fact in the table.
--
-- Errors, each with a JSON list of [stream, version] as detail:
--   LG001  these versions are stored already (another writer was first)
--   LG002  these versions have no predecessor, neither stored nor in the group
--
-- The link of the hash chain, which anybody can recompute (integers are big-endian, lengths are in bytes):
--   digest = sha256( digest of the position before, 32 bytes; for position 1: sha256('ledger_events')
--                  | position, 8 | stream id, 16 | version, 8
--                  | length of topic, 4 | topic, UTF-8 | length of state, 4 | state )
-- It runs with the rights of the owner: the role of `serve` and `worker` has no INSERT on ledger_events.
create function ledger_append(facts json, rows json) returns bigint language plpgsql
    security definer
    -- The session keeps the plans made here, and the tables may be empty when the plans are made. A sequential scan would
    -- then stay when millions of rows have come; and a scan that is only discouraged costs enough to start the JIT.
    set jit = off
    set enable_seqscan = off
    set enable_hashjoin = off
    set enable_mergejoin = off
as $$
declare
    position bigint;
    link     bytea;
    ids      uuid[];
    versions bigint[];
    topics   text[];
    states   bytea[];
    links    bytea[] := '{}';
    named    json;
    given    record;
    alarm    record;
begin
    -- One writer at a time, so that the order of positions is the order of commits and a reader that follows positions
    -- misses nothing. An advisory lock, because LOCK TABLE waits for every VACUUM of the table.
    perform pg_advisory_xact_lock(x'6c6564676572'::bigint);  -- 'ledger' in ASCII
    -- From here on all other appends wait for this one: a row lock of another session may fail this append, not block all.
    perform set_config('lock_timeout', '200ms', true);

    -- Each statement of a volatile function has its own snapshot: this one is younger than the lock.
    -- No row stores the head: under an old snapshot such a row would collect dead versions by the thousand.
    select notification_id, digest into position, link from ledger_events order by notification_id desc limit 1;
    position := coalesce(position, 0);
    link := coalesce(link, sha256('ledger_events'));

    select array_agg(f.id order by f.n), array_agg(f.version order by f.n), array_agg(f.topic order by f.n),
           array_agg(convert_to(f.state::text, 'UTF8') order by f.n)
      into ids, versions, topics, states
      from rows from (json_to_recordset(facts) as (id uuid, version bigint, topic text, state json))
           with ordinality as f (id, version, topic, state, n);

    if ids is not null then
        select json_agg(json_build_array(f.id, f.version)) into named
          from unnest(ids, versions) as f (id, version)
          join ledger_events e on e.originator_id = f.id and e.originator_version = f.version;
        if named is not null then
            raise exception 'these versions are stored already' using errcode = 'LG001', detail = named::text;
        end if;

        select json_agg(json_build_array(f.id, f.version)) into named
          from unnest(ids, versions) as f (id, version)
         where f.version > 1
           and not exists (select from ledger_events e
                            where e.originator_id = f.id and e.originator_version = f.version - 1)
           and not exists (select from unnest(ids, versions) as b (id, version)
                            where b.id = f.id and b.version = f.version - 1);
        if named is not null then
            raise exception 'these versions have no predecessor' using errcode = 'LG002', detail = named::text;
        end if;

        for i in 1 .. cardinality(ids) loop
            position := position + 1;
            link := sha256(link || int8send(position) || uuid_send(ids[i]) || int8send(versions[i])
                           || int4send(octet_length(topics[i])) || convert_to(topics[i], 'UTF8')
                           || int4send(octet_length(states[i])) || states[i]);
            links[i] := link;
        end loop;

        -- Allows the insert of this call alone. No SET clause: it would need a superuser for this setting. An error takes the
        -- setting back with the transaction.
        perform set_config('ledger.appending', 'yes', true);
        insert into ledger_events (originator_id, originator_version, topic, state, notification_id, digest)
        select f.id, f.version, f.topic, f.state, position - cardinality(ids) + f.n, f.link
          from unnest(ids, versions, topics, states, links) with ordinality as f (id, version, topic, state, link, n);
        perform set_config('ledger.appending', '', true);
        perform pg_notify('ledger_events', '');
    end if;

    select * into given from json_to_record(rows) as r (
        seller_transfers json, transfer_reversals json, orders json, refunds json, pauses json,
        disputes json, payouts json, alarms json, webhook_inbox json, released json, probe json);

    if given.probe is not null then
        -- The test of readiness: it fails where an append would fail (read only, no synchronous standby), and leaves nothing.
        if current_setting('transaction_read_only')::boolean then
            raise exception 'the database is read only' using errcode = 'read_only_sql_transaction';
        end if;
        perform pg_logical_emit_message(true, 'ledger_probe', '');
    end if;

    if given.seller_transfers is not null then
        insert into seller_transfers
        select * from json_populate_recordset(null::seller_transfers, given.seller_transfers)
        -- Workers renew and release their leases in the same order, so no deadlock is possible.
         order by transfer_id
        on conflict (transfer_id) do update set
            order_id = excluded.order_id, seller_id = excluded.seller_id, destination = excluded.destination,
            cause = excluded.cause, amount = excluded.amount, currency = excluded.currency, status = excluded.status,
            amount_reversed = excluded.amount_reversed, stripe_transfer_id = excluded.stripe_transfer_id,
            stripe_reversal_id = excluded.stripe_reversal_id, retry_count = excluded.retry_count,
            next_retry_at = excluded.next_retry_at, waiting_for = excluded.waiting_for,
            last_error = excluded.last_error, refund_id = excluded.refund_id,
            transfer_group = excluded.transfer_group, source_transaction = excluded.source_transaction,
            version = excluded.version, created_at = excluded.created_at, updated_at = excluded.updated_at;
    end if;

    if given.transfer_reversals is not null then
        insert into transfer_reversals
        select * from json_populate_recordset(null::transfer_reversals, given.transfer_reversals)
        -- One append may end a reversal and start the next. Unique indexes check each row when it is written, so rows that
        -- leave 'requested' go first; otherwise both reversals would count as in flight.
         order by status = 'requested'
        on conflict (reversal_id) do update set
            transfer_id = excluded.transfer_id, order_id = excluded.order_id, seller_id = excluded.seller_id,
            refund_id = excluded.refund_id, amount = excluded.amount, currency = excluded.currency,
            status = excluded.status, reason = excluded.reason, settled_by = excluded.settled_by,
            stripe_reversal_id = excluded.stripe_reversal_id, waiting_for = excluded.waiting_for,
            created_at = excluded.created_at, updated_at = excluded.updated_at;
    end if;

    if given.orders is not null then
        insert into orders
        select * from json_populate_recordset(null::orders, given.orders)
        -- In the order in which workers renew and release their leases, so that no deadlock is possible.
         order by stream_id
        on conflict (order_id) do update set
            stream_id = excluded.stream_id, currency = excluded.currency, amount = excluded.amount,
            refunded = excluded.refunded, collected = excluded.collected, status = excluded.status,
            payment_id = excluded.payment_id,
            source_transaction = excluded.source_transaction, shares = excluded.shares,
            connector_payment = excluded.connector_payment, last_error = excluded.last_error,
            retry_count = excluded.retry_count, next_retry_at = excluded.next_retry_at,
            version = excluded.version, created_at = excluded.created_at, updated_at = excluded.updated_at;
    end if;

    if given.refunds is not null then
        insert into refunds
        select * from json_populate_recordset(null::refunds, given.refunds) order by stream_id
        on conflict (stream_id) do update set
            refund_id = excluded.refund_id, psp_refund_id = excluded.psp_refund_id, order_id = excluded.order_id,
            amount = excluded.amount, currency = excluded.currency, status = excluded.status,
            reason = excluded.reason, allocation = excluded.allocation, retry_count = excluded.retry_count, next_retry_at = excluded.next_retry_at, last_error = excluded.last_error,
            version = excluded.version, created_at = excluded.created_at, updated_at = excluded.updated_at;
    end if;

    if given.pauses is not null then
        insert into pauses
        select * from json_populate_recordset(null::pauses, given.pauses)
        on conflict (stream_id) do update set
            scope = excluded.scope, paused = excluded.paused, actor = excluded.actor, reason = excluded.reason,
            lost_since = excluded.lost_since, version = excluded.version, created_at = excluded.created_at,
            updated_at = excluded.updated_at;
        -- Paused work may begin again: wake the workers.
        perform pg_notify('ledger_work', '');
    end if;

    if given.disputes is not null then
        insert into disputes
        select * from json_populate_recordset(null::disputes, given.disputes)
        on conflict (stream_id) do update set
            dispute_id = excluded.dispute_id, provider = excluded.provider, order_id = excluded.order_id,
            amount = excluded.amount, currency = excluded.currency, status = excluded.status,
            withdrawn = excluded.withdrawn, reinstated = excluded.reinstated, reason = excluded.reason,
            evidence_due_by = excluded.evidence_due_by, version = excluded.version, created_at = excluded.created_at, updated_at = excluded.updated_at;
    end if;

    if given.payouts is not null then
        insert into payouts
        select * from json_populate_recordset(null::payouts, given.payouts)
        on conflict (stream_id) do update set
            payout_id = excluded.payout_id, account = excluded.account, seller_ids = excluded.seller_ids,
            amount = excluded.amount, currency = excluded.currency, status = excluded.status,
            arrival_date = excluded.arrival_date, last_error = excluded.last_error, version = excluded.version,
            created_at = excluded.created_at, updated_at = excluded.updated_at;
    end if;

    if given.alarms is not null then
        -- One by one, since one append may raise, clear and raise the same alarm. An alarm that is raised again while it is
        -- open keeps its beginning. Clearing never inserts a row: most conditions that end well never raised an alarm.
        for alarm in
            select a.kind, a.subject, a.detail, a.raised_at, a.cleared_at
              from rows from (json_to_recordset(given.alarms) as (
                       kind text, subject text, detail text, raised_at timestamptz, cleared_at timestamptz))
                   with ordinality as a (kind, subject, detail, raised_at, cleared_at, n)
             order by a.n
        loop
            if alarm.cleared_at is null then
                insert into alarms as a (kind, subject, detail, raised_at, last_seen_at, times)
                values (alarm.kind, alarm.subject, alarm.detail, alarm.raised_at, alarm.raised_at, 1)
                on conflict (kind, subject) do update set
                    detail = excluded.detail,
                    raised_at = case when a.cleared_at is null then a.raised_at else excluded.raised_at end,
                    last_seen_at = case when a.cleared_at is null then greatest(a.last_seen_at, excluded.last_seen_at)
                                        else excluded.last_seen_at end,
                    times = case when a.cleared_at is null then a.times + 1 else 1 end,
                    cleared_at = null;
            else
                update alarms a set cleared_at = alarm.cleared_at
                 where a.kind = alarm.kind and a.subject = alarm.subject and a.cleared_at is null;
            end if;
        end loop;
    end if;

    if given.webhook_inbox is not null then
        -- The event is closed in the transaction of the facts that it caused. A closed row stays as it is.
        update webhook_inbox i
           set status = h.status, reason = h.reason, subject = coalesce(h.subject, i.subject), due_at = h.due_at,
               handled_at = case when h.status in ('done', 'ignored', 'discarded', 'dead') then now() end,
               leased_by = null, leased_until = null,
               position = (select e.notification_id from ledger_events e
                            where e.originator_id = h.stream and e.originator_version = h.version)
          from json_to_recordset(given.webhook_inbox) as h (
                   inbox_id bigint, status text, reason text, subject text, due_at timestamptz,
                   stream uuid, version bigint)
         where i.inbox_id = h.inbox_id
           and (i.status in ('stored', 'parked') or (h.status = 'discarded' and i.status in ('dead', 'ignored')));
        -- The event is over, and so are its alarms: in the same transaction, since no one comes back to a closed event.
        -- A fresh event that never waited has none.
        update alarms a set cleared_at = now()
          from json_to_recordset(given.webhook_inbox) as h (inbox_id bigint, status text)
          join webhook_inbox i on i.inbox_id = h.inbox_id
         where h.status in ('done', 'discarded')
           and (i.subject is not null or i.attempts > 0 or i.received_at < now() - interval '1 minute' or h.status = 'discarded')
           and a.subject = i.provider || ':' || i.event_id and a.cleared_at is null;
    end if;

    if given.released is not null then
        -- The subject of these events has just come.
        update webhook_inbox i set due_at = now()
          from json_to_recordset(given.released) as r (subject text)
         where i.subject = r.subject and i.status = 'parked';
        if found then
            perform pg_notify('webhook_inbox', '');
        end if;
    end if;

    if rows -> 'findings' is not null then
        perform keep_findings(rows -> 'findings');
    end if;

    return position;
end $$;

comment on function ledger_append(json, json) is
    'Stores a group of facts and the rows they lead to; the only way to add to ledger_events.';

-- The member "findings" of `rows`.
create function keep_findings(given json) returns void language sql as $$
    insert into findings
    select * from json_populate_recordset(null::findings, given)
    on conflict (stream_id) do update set
        finding_id = excluded.finding_id, kind = excluded.kind, status = excluded.status, stripe_id = excluded.stripe_id,
        stripe_transfer_id = excluded.stripe_transfer_id, transfer_id = excluded.transfer_id,
        reversal_id = excluded.reversal_id, at_risk = excluded.at_risk, currency = excluded.currency,
        detail = excluded.detail, actor = excluded.actor, reason = excluded.reason, version = excluded.version,
        created_at = excluded.created_at, updated_at = excluded.updated_at;
$$;

-- A function of the owner's rights reads its names from one schema, never from a schema or a temporary table of its caller.
do $$ begin
    execute format('alter function ledger_append(json, json) set search_path = %I, pg_temp', current_schema());
end $$;
revoke execute on function ledger_append(json, json), keep_findings(json), inbox_park(bigint, text, timestamptz, text)
    from public;
