-- bind: the first start decides; an account that was not known then is added when it is
insert into ledger_binding as b (mode, account) values (%(mode)s, %(account)s)
on conflict (single) do update set account = coalesce(b.account, excluded.account)
 where b.mode = excluded.mode and b.account is null and excluded.account is not null;

-- binding: to what this database belongs
select mode, account, bound_at from ledger_binding;
