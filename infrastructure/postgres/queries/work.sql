-- claim: lease what is due, seller by seller; for transferring, work.py puts its two statuses in the place of the one
with recursive gate as materialized (
    select where not exists (select from breaker where open)
             and not exists (select from pauses where paused and scope in ('everything', 'work:' || %(kind)s))
), turn (seller_id, since, visits, found, wrapped) as (
    -- A loose index scan: from the seller after the last one of the claim before, once round the circle at most.
    -- `since`: the longest due of the seller that is free; null if there is none.
    select %(after)s::text, null::timestamptz, 0, 0, false from gate
    union all
    select n.seller_id, d.since, t.visits + 1, t.found + (d.since is not null)::int, n.wrapped
      from turn t
     cross join lateral (
           (select seller_id, next_retry_at, t.wrapped as wrapped from seller_transfers
             where status in ('reversal_pending') and next_retry_at is not null and seller_id >= '' and seller_id > t.seller_id
             order by seller_id, next_retry_at limit 1)
           union all
           (select seller_id, next_retry_at, true from seller_transfers
             where status in ('reversal_pending') and next_retry_at is not null and seller_id >= '' and not t.wrapped
             order by seller_id, next_retry_at limit 1)
           limit 1) n
     cross join lateral (
           select case when n.next_retry_at > now() then null
                       when (select bool_or(paused) from pauses where scope in ('seller:' || n.seller_id, %(kind)s || ':' || n.seller_id)) then null
                       else (select s.next_retry_at from seller_transfers s
                              where status in ('reversal_pending') and next_retry_at is not null
                                and s.seller_id >= '' and s.seller_id = n.seller_id and s.next_retry_at <= now()
                                and (s.leased_until is null or s.leased_until <= now())
                              order by s.next_retry_at limit 1)
                  end as since) d
     where t.visits < %(visits)s and t.found < %(limit)s and not (n.wrapped and n.seller_id > %(after)s)
), soonest as (
    -- A circle too large for one claim, most of it sellers who wait for a later time: whose are the longest due of all?
    select seller_id, next_retry_at as since
      from (select seller_id, next_retry_at, leased_until from seller_transfers, gate
             where status in ('reversal_pending') and next_retry_at is not null and next_retry_at <= now()
             order by next_retry_at limit %(window)s) w
     where (leased_until is null or leased_until <= now())
       and (select bool_or(paused) from pauses where scope in ('seller:' || w.seller_id, %(kind)s || ':' || w.seller_id)) is not true
     order by next_retry_at
     limit (select case when max(visits) = %(visits)s then %(limit)s - max(found) else 0 end from turn)
), sellers as materialized (
    select seller_id, min(since) as since
      from (select seller_id, since from turn where since is not null union all select * from soonest) s
     group by seller_id
), due as materialized (
    select p.transfer_id
      from sellers s
     cross join lateral (
           select transfer_id from seller_transfers t
            where status in ('reversal_pending') and next_retry_at is not null
              and t.seller_id >= '' and t.seller_id = s.seller_id and t.next_retry_at between s.since and now()
              and (t.leased_until is null or t.leased_until <= now())
            order by t.next_retry_at
            limit (select %(limit)s / count(*) from sellers)
              for update skip locked) p
), claimed as (
    update seller_transfers t set leased_by = %(holder)s, leased_until = now() + %(lease)s
      from due
     where t.transfer_id = due.transfer_id
    returning t.transfer_id, t.next_retry_at
)
select array(select transfer_id from claimed order by next_retry_at, transfer_id), now(),
       (select seller_id from turn order by visits desc limit 1);

-- renew: prolong what this holder still holds; what is missing in the answer was lost to somebody else
update seller_transfers t set leased_until = now() + %(lease)s
  from (select transfer_id from seller_transfers
         where transfer_id = any(%(ids)s) and leased_by = %(holder)s
         -- The order in which appends lock these rows, so nobody waits in a circle.
         order by transfer_id
           for update) held
 where t.transfer_id = held.transfer_id
returning t.transfer_id;

-- release: end leases before their time, and tell every worker: one of the other kind may sleep until the lease runs out
with released as (
    update seller_transfers t set leased_by = null, leased_until = null
      from (select transfer_id from seller_transfers
             where transfer_id = any(%(ids)s) and leased_by = %(holder)s
             order by transfer_id
               for update) held
     where t.transfer_id = held.transfer_id
    returning t.transfer_id
)
select pg_notify('ledger_work', '') where exists (select from released);

-- next_due: the earliest instant at which there may be something to claim; statuses as in claim
with gate as materialized (
    select where not exists (select from breaker where open)
             and not exists (select from pauses where paused and scope in ('everything', 'work:' || %(kind)s))
), free as (
    select (select next_retry_at
              from (select seller_id, next_retry_at, leased_until from seller_transfers
                     where status in ('reversal_pending') and next_retry_at is not null
                     order by next_retry_at limit %(window)s) w
             where (leased_until is null or leased_until <= now())
               and (select bool_or(paused) from pauses where scope in ('seller:' || w.seller_id, %(kind)s || ':' || w.seller_id)) is not true
             order by next_retry_at
             limit 1) as at
      from gate
)
select least(free.at,
    -- What is due before the first free one is leased or paused.
    (select min(greatest(next_retry_at, leased_until))
       from (select seller_id, next_retry_at, leased_until from seller_transfers
              where status in ('reversal_pending') and next_retry_at is not null
                and next_retry_at < coalesce(free.at, 'infinity')
              order by next_retry_at limit %(window)s) w
      where leased_until > now()
        and (select bool_or(paused) from pauses where scope in ('seller:' || w.seller_id, %(kind)s || ':' || w.seller_id)) is not true),
    -- All that was looked at is leased or paused, and there is more: look again soon, instead of at all of it each time.
    (select greatest(next_retry_at, now() + interval '1 second') from seller_transfers
      where status in ('reversal_pending') and next_retry_at is not null and free.at is null
      order by next_retry_at offset %(window)s limit 1))
  from free;
