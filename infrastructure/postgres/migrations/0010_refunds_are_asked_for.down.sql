do $do$
begin
    execute replace(replace(pg_get_functiondef('ledger_append(json, json)'::regprocedure),
        'json_populate_recordset(null::refunds, given.refunds) order by stream_id',
        'json_populate_recordset(null::refunds, given.refunds)'),
        'allocation = excluded.allocation, retry_count = excluded.retry_count, next_retry_at = excluded.next_retry_at,',
        'allocation = excluded.allocation,');
end $do$;

drop index refunds_due_idx;
alter table refunds
    drop constraint a_refund_is_leased_to_somebody_until_some_time,
    drop constraint a_refund_under_way_has_its_next_retry_at,
    drop column leased_until,
    drop column leased_by,
    drop column next_retry_at,
    drop column retry_count;
