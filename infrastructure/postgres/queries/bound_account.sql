-- bind: the first start decides; a later start adds the account if it was unknown until then
insert into ledger_binding as b (mode, account) values (%(mode)s, %(account)s)
on conflict (single) do update set account = coalesce(b.account, excluded.account)
 where b.mode = excluded.mode and b.account is null and excluded.account is not null;

-- identity: the mode, the account and the identity of this database
select mode, account, bound_at, ledger_id from ledger_binding;

-- binding: the mode and account that this database belongs to
select mode, account, bound_at from ledger_binding;
