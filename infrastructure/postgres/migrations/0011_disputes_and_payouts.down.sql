do $do$
declare
    door text := pg_get_functiondef('ledger_append(json, json)'::regprocedure);
begin
    door := replace(door, 'disputes json, payouts json, ', '');
    execute replace(door, '    if given.disputes is not null then
        insert into disputes
        select * from json_populate_recordset(null::disputes, given.disputes)
        on conflict (stream_id) do update set
            dispute_id = excluded.dispute_id, provider = excluded.provider, order_id = excluded.order_id,
            amount = excluded.amount, currency = excluded.currency, status = excluded.status,
            withdrawn = excluded.withdrawn, reinstated = excluded.reinstated, reason = excluded.reason,
            version = excluded.version, created_at = excluded.created_at, updated_at = excluded.updated_at;
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

', '');
end $do$;

drop index seller_transfers_waiting_idx;
drop index seller_transfers_destination_idx;
drop index orders_charge_idx;
drop table payouts;
drop table disputes;
