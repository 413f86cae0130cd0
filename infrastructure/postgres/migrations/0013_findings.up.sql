-- What people decided about differences between Stripe's books and ours. Differences that nobody has decided about have no
-- row: each reconciliation finds them anew.
create table findings (
    stream_id          uuid        primary key,
    finding_id         text        not null constraint one_row_per_finding unique,
    kind               text        not null,
    status             text        not null,
    stripe_id          text        not null,
    stripe_transfer_id text        not null,
    transfer_id        uuid,
    reversal_id        text,
    at_risk            bigint      not null,
    currency           text        not null,
    detail             text        not null,
    actor              text,
    reason             text,
    version            bigint      not null,
    created_at         timestamptz not null,
    updated_at         timestamptz not null,

    constraint a_finding_has_a_known_status check (status in ('noted', 'ignored', 'adopted')),
    constraint a_decision_names_its_actor_and_reason check (
        status = 'noted' or (actor is not null and reason is not null)),
    constraint what_is_at_risk_is_never_negative check (at_risk >= 0)
);

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

-- The door takes one more member of `rows`, `findings`. It is extended as it stands instead of being written anew, so that
-- this migration does not depend on what others have added to it before.
do $$
declare
    door text := pg_get_functiondef('ledger_append(json, json)'::regprocedure);
    wide text := replace(door, E'\n    return position;\n', E'\n    if rows -> ''findings'' is not null then\n'
        || E'        perform keep_findings(rows -> ''findings'');\n    end if;\n\n    return position;\n');
begin
    if wide = door then
        raise exception 'ledger_append does not end as expected, so findings cannot be added to it';
    end if;
    execute wide;
end $$;

-- What a reconciliation or a backfill looks for: ours whose id at Stripe nobody knows. Paid transfers are not in it.
create index seller_transfers_without_stripe_id_idx on seller_transfers (destination, transfer_group)
    where stripe_transfer_id is null or stripe_transfer_id = '';
