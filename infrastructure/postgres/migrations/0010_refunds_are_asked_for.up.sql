-- A refund that the PSP is asked for is work like a transfer: due at a time, and leased to whoever calls.
alter table refunds
    add column retry_count   integer not null default 0,
    add column next_retry_at timestamptz,
    add column leased_by     text,
    add column leased_until  timestamptz,
    -- Until now no refund has rested in one of these two statuses.
    add constraint a_refund_under_way_has_its_next_retry_at check (
        (status in ('requested', 'submitted')) = (next_retry_at is not null)),
    add constraint a_refund_is_leased_to_somebody_until_some_time check ((leased_by is null) = (leased_until is null));

create index refunds_due_idx on refunds (next_retry_at) where next_retry_at is not null;

-- The door takes in the two columns that the facts lead to; leases are none of its business. The rest of it stays as earlier
-- migrations have left it, and so its text is changed instead of being written down once more.
do $do$
declare
    before text := pg_get_functiondef('ledger_append(json, json)'::regprocedure);
    after  text := replace(replace(before,
        'json_populate_recordset(null::refunds, given.refunds)',
        'json_populate_recordset(null::refunds, given.refunds) order by stream_id'),
        'allocation = excluded.allocation,',
        'allocation = excluded.allocation, retry_count = excluded.retry_count, next_retry_at = excluded.next_retry_at,');
begin
    if length(after) <> length(before) + length(' order by stream_id')
                        + length(' retry_count = excluded.retry_count, next_retry_at = excluded.next_retry_at,') then
        raise exception 'ledger_append does not upsert refunds as expected; adapt this migration';
    end if;
    execute after;
end $do$;
