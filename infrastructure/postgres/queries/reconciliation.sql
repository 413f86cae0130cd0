-- paid_by: our transfers that these transfers at Stripe have paid
select stripe_transfer_id, transfer_id from seller_transfers where stripe_transfer_id = any(%s);

-- alike: our transfers that may belong to transfers at Stripe without an id of ours: by transfer group or source, and by
-- destination
select transfer_id from seller_transfers where order_id = any(%(names)s) and destination = any(%(destinations)s)
union
select transfer_id
  from seller_transfers
 where destination = any(%(destinations)s) and (transfer_group = any(%(names)s) or source_transaction = any(%(names)s))
   and (stripe_transfer_id is null or stripe_transfer_id = '');

-- ignored: those of these findings that a person ignores
select finding_id, actor, reason, updated_at from findings where finding_id = any(%s) and status = 'ignored';

-- see: remember a page of Stripe's list
insert into seen_at_stripe select unnest(%s::text[]) on conflict do nothing;

-- unseen: our transfers of this time that are paid and were not on Stripe's list; oldest first, after a cursor
select t.transfer_id, t.stripe_transfer_id, t.created_at
  from seller_transfers t
 where t.stripe_transfer_id <> '' and t.created_at >= %(since)s and t.created_at < %(until)s
   and (%(after)s::uuid is null or (t.created_at, t.transfer_id) > (%(after_at)s::timestamptz, %(after)s::uuid))
   and not exists (select from seen_at_stripe s where s.stripe_transfer_id = t.stripe_transfer_id)
 order by t.created_at, t.transfer_id
 limit 500;

-- next_destination: the next destination of a transfer that may be paid without a known id at Stripe
select destination
  from seller_transfers
 where (stripe_transfer_id is null or stripe_transfer_id = '') and status <> 'cancelled' and destination > %s
 order by destination
 limit 1;

-- destinations: how many destinations next_destination gives
select count(distinct destination)
  from seller_transfers
 where (stripe_transfer_id is null or stripe_transfer_id = '') and status <> 'cancelled';

-- without_id: transfers to a destination that are paid without an id, or that an older system left open: it may have paid them.
-- A transfer that this ledger made and that was never paid must get no id.
select t.transfer_id, t.order_id, t.seller_id, t.destination, t.amount, t.currency, t.status, t.transfer_group,
       t.source_transaction,
       case when e.topic <> 'ledger.seller_transfer.imported' or convert_from(e.state, 'UTF8')::json ->> 'created_at' is not null
            then t.created_at end as begun_at,
       not (t.status in ('completed', 'reversal_pending', 'partially_reversed', 'reversed')
            or coalesce(t.last_error like 'no_stripe_transfer_id:%%', false)) as open
  from seller_transfers t
  join ledger_events e on e.originator_id = t.transfer_id and e.originator_version = 1
 where t.destination = %s and (t.stripe_transfer_id is null or t.stripe_transfer_id = '')
   and (t.status in ('completed', 'reversal_pending', 'partially_reversed', 'reversed')
        or (t.status = 'permanently_failed' and t.last_error like 'no_stripe_transfer_id:%%')
        or (e.topic = 'ledger.seller_transfer.imported'
            and (t.status in ('pending', 'failed')
                 or (t.status = 'permanently_failed' and t.last_error like 'evidence_held:%%'))))
 order by t.created_at, t.transfer_id;

-- completed_without_id: how many transfers are completed without a known id at Stripe
select count(*)
  from seller_transfers
 where (stripe_transfer_id is null or stripe_transfer_id = '') and status = 'completed';
