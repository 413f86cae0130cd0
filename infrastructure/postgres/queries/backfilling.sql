-- next_destination: the next one to which ours may have gone without an id of Stripe's being known
select destination
  from seller_transfers
 where (stripe_transfer_id is null or stripe_transfer_id = '') and status <> 'cancelled' and destination > %s
 order by destination
 limit 1;

-- without_id: ours to a destination that are paid without an id, and what an older system left open: it may have paid them.
-- One that we made ourselves and that was never paid must get no id.
select t.transfer_id, t.order_id, t.seller_id, t.destination, t.amount, t.currency, t.status, t.transfer_group,
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

-- historical: how many are completed, and nobody knows by which transfer at Stripe
select count(*)
  from seller_transfers
 where (stripe_transfer_id is null or stripe_transfer_id = '') and status = 'completed';
