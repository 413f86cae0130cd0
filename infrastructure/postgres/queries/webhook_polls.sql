-- begin: the first round of a provider; events older than this ledger's first start, or than thirty days, do not matter
with beginning as (
    select greatest(coalesce((select bound_at from ledger_binding), now()), now() - interval '30 days') as at
)
insert into webhook_polls (provider, begun_at, seen_until, due_at) select %s, at, at, now() from beginning
on conflict (provider) do nothing;

-- take: of all processes that ask when the poll is due, one gets the row, as it was before
update webhook_polls p set due_at = now() + %(interval)s
  from (select * from webhook_polls where provider = %(provider)s for update) before
 where p.provider = before.provider and (before.due_at <= now() or %(anyway)s)
returning before.begun_at, before.seen_until, before.due_at, before.checked_at, now();

-- advance: all events from before that instant are stored, whichever process asked; the turn is prolonged
update webhook_polls set seen_until = greatest(seen_until, %(seen_until)s), due_at = now() + %(interval)s
 where provider = %(provider)s;

-- checked: a round is complete
update webhook_polls set checked_at = now() where provider = %s;

-- until_due: seconds until the next turn; a provider that was never asked is due now
select greatest(0, min(extract(epoch from coalesce(p.due_at, now()) - now())))::float8
  from unnest(%s::text[]) as given (provider) left join webhook_polls p using (provider);

-- state: how far each provider was asked
select provider, begun_at, seen_until, due_at, checked_at, now() from webhook_polls;
