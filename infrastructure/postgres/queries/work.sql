-- claim_transferring: lease transfers whose sending, or next try, is due
with pending as materialized (
    select transfer_id, next_retry_at from seller_transfers
     where status = 'pending' and next_retry_at is not null and next_retry_at <= now()
       and (leased_until is null or leased_until <= now())
     order by next_retry_at
     limit %(limit)s
       for update skip locked
), failed as materialized (
    select transfer_id, next_retry_at from seller_transfers
     where status = 'failed' and next_retry_at is not null and next_retry_at <= now()
       and (leased_until is null or leased_until <= now())
     order by next_retry_at
     limit %(limit)s
       for update skip locked
), due as (
    select * from pending union all select * from failed
     order by next_retry_at
     limit %(limit)s
), claimed as (
    update seller_transfers t set leased_by = %(holder)s, leased_until = now() + %(lease)s
      from due
     where t.transfer_id = due.transfer_id
    returning t.transfer_id, t.next_retry_at
)
select array(select transfer_id from claimed order by next_retry_at, transfer_id), now();

-- claim_reversing: lease transfers whose reversal, or its next try, is due
with due as materialized (
    select transfer_id from seller_transfers
     where status = 'reversal_pending' and next_retry_at <= now()
       and (leased_until is null or leased_until <= now())
     order by next_retry_at
     limit %(limit)s
       for update skip locked
), claimed as (
    update seller_transfers t set leased_by = %(holder)s, leased_until = now() + %(lease)s
      from due
     where t.transfer_id = due.transfer_id
    returning t.transfer_id, t.next_retry_at
)
select array(select transfer_id from claimed order by next_retry_at, transfer_id), now();

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

-- next_due_transferring: the earliest instant at which there may be something to claim
with free as (
    select least(
        (select min(next_retry_at) from seller_transfers
          where status = 'pending' and next_retry_at is not null and (leased_until is null or leased_until <= now())),
        (select min(next_retry_at) from seller_transfers
          where status = 'failed' and next_retry_at is not null and (leased_until is null or leased_until <= now()))
    ) as at
)
-- Everything due before the first free one is leased: few rows.
select least(free.at,
    (select min(greatest(next_retry_at, leased_until)) from seller_transfers
      where status = 'pending' and next_retry_at is not null and next_retry_at < coalesce(free.at, 'infinity')),
    (select min(greatest(next_retry_at, leased_until)) from seller_transfers
      where status = 'failed' and next_retry_at is not null and next_retry_at < coalesce(free.at, 'infinity')))
  from free;

-- next_due_reversing: the earliest instant at which there may be something to claim
with free as (
    select min(next_retry_at) as at from seller_transfers
     where status = 'reversal_pending' and (leased_until is null or leased_until <= now())
)
select least(free.at, (select min(greatest(next_retry_at, leased_until)) from seller_transfers
                        where status = 'reversal_pending' and next_retry_at < coalesce(free.at, 'infinity')))
  from free;
