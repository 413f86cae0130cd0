drop index seller_transfers_without_stripe_id_idx;
do $$
declare
    door text := pg_get_functiondef('ledger_append(json, json)'::regprocedure);
begin
    execute replace(door, E'\n    if rows -> ''findings'' is not null then\n'
        || E'        perform keep_findings(rows -> ''findings'');\n    end if;\n\n    return position;\n', E'\n    return position;\n');
end $$;
drop function keep_findings(json);
drop table findings;
