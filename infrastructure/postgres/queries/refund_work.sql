-- claim: lease the longest due refunds that the PSP has to be called or asked for; the breaker is Stripe's, and stops none
with gate as materialized (
    select where not exists (select from pauses where paused and scope in ('everything', 'work:refunding'))
), due as materialized (
    select r.stream_id
      from refunds r, gate
     where r.next_retry_at is not null and r.next_retry_at <= now() and (r.leased_until is null or r.leased_until <= now())
     order by r.next_retry_at
     limit %(limit)s
       for update of r skip locked
), claimed as (
    update refunds r set leased_by = %(holder)s, leased_until = now() + %(lease)s
      from due
     where r.stream_id = due.stream_id
    returning r.stream_id, r.next_retry_at
)
select array(select stream_id from claimed order by next_retry_at, stream_id), now();

-- renew: prolong what this holder still holds; what is missing in the answer was lost to somebody else
update refunds r set leased_until = now() + %(lease)s
  from (select stream_id from refunds
         where stream_id = any(%(ids)s) and leased_by = %(holder)s
         -- The order in which appends lock these rows, so nobody waits in a circle.
         order by stream_id
           for update) held
 where r.stream_id = held.stream_id
returning r.stream_id;

-- release: end leases before their time, and tell every worker
with released as (
    update refunds r set leased_by = null, leased_until = null
      from (select stream_id from refunds
             where stream_id = any(%(ids)s) and leased_by = %(holder)s
             order by stream_id
               for update) held
     where r.stream_id = held.stream_id
    returning r.stream_id
)
select pg_notify('ledger_work', '') where exists (select from released);

-- next_due: the earliest instant at which there may be something to claim, among those that are due first
select min(greatest(r.next_retry_at, r.leased_until))
  from (select next_retry_at, leased_until from refunds where next_retry_at is not null
         order by next_retry_at limit %(window)s) r
 where not exists (select from pauses where paused and scope in ('everything', 'work:refunding'));
