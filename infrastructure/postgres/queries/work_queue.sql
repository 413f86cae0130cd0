-- claim: lease due transfers, seller by seller; for the kind `transferring`, work_queue.py replaces the one status by two
with recursive gate as materialized (
    select where not exists (select from breaker where open)
             and not exists (select from pauses where paused and scope in ('everything', 'work:' || %(kind)s))
), turn (seller_id, since, visits, found, wrapped) as (
    -- A loose index scan: it begins after the last seller of the claim before, and passes each seller at most once.
    -- `since`: the due time of the seller's longest due free transfer; null if there is none.
    select %(after)s::text, null::timestamptz, 0, 0, false from gate
    union all
    select n.seller_id, d.since, t.visits + 1, t.found + (d.since is not null)::int, n.wrapped
      from turn t
     cross join lateral (
           (select seller_id, next_retry_at, t.wrapped as wrapped from seller_transfers
             where status in ('reversal_pending') and next_retry_at >= %(since)s::timestamptz
               and seller_id >= '' and seller_id > t.seller_id
             order by seller_id, next_retry_at limit 1)
           union all
           (select seller_id, next_retry_at, true from seller_transfers
             where status in ('reversal_pending') and next_retry_at >= %(since)s::timestamptz
               and seller_id >= '' and not t.wrapped
             order by seller_id, next_retry_at limit 1)
           limit 1) n
     cross join lateral (
           select case when n.next_retry_at > now() then null
                       when (select bool_or(paused) from pauses where scope in ('seller:' || n.seller_id, %(kind)s || ':' || n.seller_id)) then null
                       else (select s.next_retry_at from seller_transfers s
                              where status in ('reversal_pending') and s.next_retry_at between %(since)s::timestamptz and now()
                                and s.seller_id >= '' and s.seller_id = n.seller_id
                                and (s.leased_until is null or s.leased_until <= now())
                              order by s.next_retry_at limit 1)
                  end as since) d
     where t.visits < %(visits)s and t.found < %(limit)s and not (n.wrapped and n.seller_id > %(after)s)
), soonest as (
    -- More sellers than one claim may visit, most of them waiting for a later time: find the sellers of the longest due.
    select seller_id, next_retry_at as since
      from (select seller_id, next_retry_at, leased_until from seller_transfers, gate
             where status in ('reversal_pending') and next_retry_at between %(since)s::timestamptz and now()
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
       (select seller_id from turn order by visits desc limit 1),
       -- leased and paused rows included: the next claim may search from here on
       (select next_retry_at from seller_transfers
         where status in ('reversal_pending') and next_retry_at >= %(since)s::timestamptz order by next_retry_at limit 1);

-- claim_refunds: lease the longest due refunds; the circuit breaker is Stripe's, and stops no refund at the PSP
with gate as materialized (
    select where not exists (select from pauses where paused and scope in ('everything', 'work:refunding'))
), due as materialized (
    select r.stream_id
      from refunds r, gate
     where r.next_retry_at between %(since)s::timestamptz and now() and (r.leased_until is null or r.leased_until <= now())
     order by r.next_retry_at
     limit %(limit)s
       for update of r skip locked
), claimed as (
    update refunds r set leased_by = %(holder)s, leased_until = now() + %(lease)s
      from due
     where r.stream_id = due.stream_id
    returning r.stream_id, r.next_retry_at
)
select array(select stream_id from claimed order by next_retry_at, stream_id), now(), '',
       (select next_retry_at from refunds where next_retry_at >= %(since)s::timestamptz order by next_retry_at limit 1);

-- claim_orders: lease the orders whose charge is to be read at Stripe, the longest due first
with gate as materialized (
    select where not exists (select from breaker where open)
             and not exists (select from pauses where paused and scope in ('everything', 'work:funding'))
), due as materialized (
    select o.stream_id
      from orders o, gate
     where o.next_retry_at between %(since)s::timestamptz and now() and (o.leased_until is null or o.leased_until <= now())
     order by o.next_retry_at
     limit %(limit)s
       for update of o skip locked
), claimed as (
    update orders o set leased_by = %(holder)s, leased_until = now() + %(lease)s
      from due
     where o.stream_id = due.stream_id
    returning o.stream_id, o.next_retry_at
)
select array(select stream_id from claimed order by next_retry_at, stream_id), now(), '',
       (select next_retry_at from orders where next_retry_at >= %(since)s::timestamptz order by next_retry_at limit 1);

-- renew: prolong the leases that this holder still has; a row that is missing in the answer belongs to another holder
update seller_transfers t set leased_until = now() + %(lease)s
  from (select transfer_id from seller_transfers
         where transfer_id = any(%(ids)s) and leased_by = %(holder)s
         -- The order in which appends lock these rows, so that no deadlock is possible.
         order by transfer_id
           for update) held
 where t.transfer_id = held.transfer_id
returning t.transfer_id;

-- hold: lease rows, due or not, that nobody else holds
update seller_transfers t set leased_by = %(holder)s, leased_until = now() + %(lease)s
  from (select transfer_id from seller_transfers
         where transfer_id = any(%(ids)s)
           and (leased_until is null or leased_until <= now() or leased_by = %(holder)s)
         order by transfer_id
           for update) free
 where t.transfer_id = free.transfer_id;

-- release: end leases early, and wake every worker: a worker of the other kind may sleep until the lease would end
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

-- next_due: the earliest instant at which a transfer may be claimed; statuses as in claim
with gate as materialized (
    select where not exists (select from breaker where open)
             and not exists (select from pauses where paused and scope in ('everything', 'work:' || %(kind)s))
), free as (
    select (select next_retry_at
              from (select seller_id, next_retry_at, leased_until from seller_transfers
                     where status in ('reversal_pending') and next_retry_at >= %(since)s::timestamptz
                     order by next_retry_at limit %(window)s) w
             where (leased_until is null or leased_until <= now())
               and (select bool_or(paused) from pauses where scope in ('seller:' || w.seller_id, %(kind)s || ':' || w.seller_id)) is not true
             order by next_retry_at
             limit 1) as at
      from gate
)
select least(free.at,
    -- Every transfer that is due before the first free one is leased or paused.
    (select min(greatest(next_retry_at, leased_until))
       from (select seller_id, next_retry_at, leased_until from seller_transfers
              where status in ('reversal_pending') and next_retry_at >= %(since)s::timestamptz
                and next_retry_at < coalesce(free.at, 'infinity')
              order by next_retry_at limit %(window)s) w
      where leased_until > now()
        and (select bool_or(paused) from pauses where scope in ('seller:' || w.seller_id, %(kind)s || ':' || w.seller_id)) is not true),
    -- The whole window is leased or paused, and there are more rows: look again soon, instead of reading all of them each time.
    (select greatest(next_retry_at, now() + interval '1 second') from seller_transfers
      where status in ('reversal_pending') and next_retry_at >= %(since)s::timestamptz and free.at is null
      order by next_retry_at offset %(window)s limit 1))
  from free;

-- next_due_refund: the earliest instant at which a refund may be claimed, among those that are due first
select min(greatest(r.next_retry_at, r.leased_until))
  from (select next_retry_at, leased_until from refunds where next_retry_at >= %(since)s::timestamptz
         order by next_retry_at limit %(window)s) r
 where not exists (select from pauses where paused and scope in ('everything', 'work:refunding'));

-- next_due_order: the earliest instant at which an order may be claimed, among those that are due first
select min(greatest(o.next_retry_at, o.leased_until))
  from (select next_retry_at, leased_until from orders where next_retry_at >= %(since)s::timestamptz
         order by next_retry_at limit %(window)s) o
 where not exists (select from breaker where open)
   and not exists (select from pauses where paused and scope in ('everything', 'work:funding'));
