-- keep: a difference that the reconciliation has found, now or again
insert into found_differences (finding_id, kind, stripe_id, stripe_transfer_id, transfer_id, reversal_id, at_risk, currency,
                               detail, obstacle, awaits_others, since, found_at)
values (%(finding_id)s, %(kind)s, %(stripe_id)s, %(stripe_transfer_id)s, %(transfer_id)s, %(reversal_id)s, %(at_risk)s,
        %(currency)s, %(detail)s, %(obstacle)s, %(awaits_others)s, %(since)s, now())
on conflict (finding_id) do update
   set detail = excluded.detail, obstacle = excluded.obstacle, awaits_others = excluded.awaits_others,
       since = excluded.since, found_at = excluded.found_at;

-- forget: the differences of this period that the reconciliation has not found any more
delete from found_differences where since >= %(start)s and since < %(end)s and found_at < %(began)s;

-- begin: the instant before the first difference, and whether this role may keep differences
select now(), has_table_privilege('found_differences', 'INSERT') and has_table_privilege('check_runs', 'INSERT')
              and not current_setting('transaction_read_only')::boolean;

-- one: a difference by its id
select kind, stripe_id, stripe_transfer_id, transfer_id, at_risk, currency, detail, obstacle, reversal_id, awaits_others
  from found_differences where finding_id = %s;
