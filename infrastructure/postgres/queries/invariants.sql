-- one_transfer_per_cause: at most one transfer per order, seller and cause
select min(transfer_id::text), format('%s transfers for order %s, seller %s, cause %s', count(*), order_id, seller_id, cause)
  from seller_transfers group by order_id, seller_id, cause having count(*) > 1;

-- one_reversal_per_refund: at most one reversal per transfer and refund for each time that the refund succeeded (or the dispute took money), not counting reversals withdrawn before they were sent, nor those found at Stripe after a restore
select min(r.reversal_id::text), format('%s reversals of transfer %s for refund %s', count(*), r.transfer_id, r.refund_id)
  from transfer_reversals r
 where r.refund_id is not null and r.status <> 'withdrawn'
   and not exists (
       select from ledger_events e
        where e.originator_id = r.transfer_id and e.topic = 'ledger.seller_transfer.reversal_requested'
          and convert_from(e.state, 'UTF8')::json ->> 'reversal_id' = r.reversal_id::text
          and convert_from(e.state, 'UTF8')::json ->> 'found' = 'true')
 group by r.transfer_id, r.order_id, r.refund_id
having count(*) > 1 and count(*) > (
       select count(*) from orders o join ledger_events e on e.originator_id = o.stream_id
        where o.order_id = r.order_id
          -- a dispute takes more when a refund before it is revoked, and a refund when the collected amount changes
          and (e.topic in ('ledger.order.refund_revoked', 'ledger.order.dispute_revoked', 'ledger.order.amount_received')
               or e.topic in ('ledger.order.refund_allocated', 'ledger.order.dispute_counted',
                              'ledger.order.set_aside_decided', 'ledger.order.reversal_made_by_refund')
                  and r.refund_id in (convert_from(e.state, 'UTF8')::json ->> 'refund_id',
                                      convert_from(e.state, 'UTF8')::json ->> 'cause_id',
                                      'dispute ' || (convert_from(e.state, 'UTF8')::json ->> 'dispute_id'))));

-- one_reversal_in_flight: at most one reversal of a transfer is requested at Stripe at a time
select min(reversal_id::text), format('%s reversals of transfer %s are in flight', count(*), transfer_id)
  from transfer_reversals where status = 'requested' group by transfer_id having count(*) > 1;

-- stripe_transfer_ids_are_unique: one object at Stripe pays one transfer of ours
select min(transfer_id::text), format('%s transfers are %s at Stripe', count(*), stripe_transfer_id)
  from seller_transfers where stripe_transfer_id <> '' group by stripe_transfer_id having count(*) > 1;

-- stripe_reversal_ids_are_unique: one object at Stripe settles one reversal of ours
select min(reversal_id::text), format('%s reversals are %s at Stripe', count(*), stripe_reversal_id)
  from transfer_reversals where stripe_reversal_id <> '' group by stripe_reversal_id having count(*) > 1;

-- reversals_never_exceed_the_transfer: the reversed amount is neither negative nor above the amount of the transfer
select transfer_id::text, format('%s of %s came back', amount_reversed, amount)
  from seller_transfers where amount_reversed < 0 or amount_reversed > amount;

-- amount_reversed_is_the_sum: the reversed amount of a transfer is the sum of its settled reversals
select t.transfer_id::text, format('%s came back, but its settled reversals sum to %s', t.amount_reversed, coalesce(sum(r.amount), 0))
  from seller_transfers t left join transfer_reversals r on r.transfer_id = t.transfer_id and r.status = 'reversed'
 -- the reversals of an older system have no rows here
 where not exists (select from ledger_events e where e.originator_id = t.transfer_id and e.originator_version = 1
                                                 and e.topic = 'ledger.seller_transfer.imported')
 group by t.transfer_id, t.amount_reversed having t.amount_reversed <> coalesce(sum(r.amount), 0);

-- due_or_waiting: an open transfer has a due time or says what it waits for; a settled transfer has neither
select transfer_id::text, format('it is %s, due %s, and waits for %s', status, coalesce(next_retry_at::text, 'never'),
                                 coalesce(waiting_for, 'nothing'))
  from seller_transfers
 where case when status = 'reversal_pending' then next_retry_at is null
            when status in ('pending', 'failed') then next_retry_at is null and waiting_for is null
            else next_retry_at is not null or waiting_for is not null end;

-- refunds_sum_up: the refunded amount of an order is the sum of its refunds that succeeded, each as the amount that a person
-- has decided if it was set aside; one that waits for the decision takes nothing
with decided as (
    select distinct on (e.originator_id, f.cause_id) e.originator_id, f.cause_id,
           case when e.topic = 'ledger.order.refund_set_aside' or f.state -> 'explicit' = 'null' then 0
                else (f.state ->> 'amount')::bigint end as amount
      from ledger_events e
     cross join lateral (select convert_from(e.state, 'UTF8')::jsonb as state) s
     cross join lateral (select s.state, coalesce(s.state ->> 'cause_id', s.state ->> 'refund_id') as cause_id) f
     where e.topic = 'ledger.order.set_aside_decided'
        -- until it is divided after all, because another refund has failed
        or (e.topic = 'ledger.order.refund_set_aside' and not exists (
            select from ledger_events a
             where a.originator_id = e.originator_id and a.originator_version > e.originator_version
               and a.topic = 'ledger.order.refund_allocated'
               and convert_from(a.state, 'UTF8')::jsonb ->> 'refund_id' = f.cause_id))
     order by e.originator_id, f.cause_id, e.originator_version desc
), counted as (
    select r.order_id, coalesce(d.amount, r.amount) as amount
      from refunds r join orders o using (order_id)
      left join decided d on d.originator_id = o.stream_id and d.cause_id in (r.refund_id, r.psp_refund_id)
     where r.status = 'succeeded'
)
select o.order_id, format('%s is refunded, its refunds sum to %s', o.refunded, coalesce(sum(c.amount), 0))
  from orders o left join counted c on c.order_id = o.order_id
 group by o.order_id, o.refunded having o.refunded <> coalesce(sum(c.amount), 0);

-- shares_come_out_exactly: no seller has more than the share or less than 0, and, once all transfers are settled, exactly the
-- share less the part that the effective refunds take of it: 0 after full refunds
with owed as (
    -- each fact carries the total that each seller owes: the newest fact counts
    select distinct on (originator_id) originator_id, convert_from(state, 'UTF8')::jsonb -> 'targets' as targets
      from ledger_events
     where topic in ('ledger.order.refund_allocated', 'ledger.order.refund_revoked',
                     'ledger.order.dispute_counted', 'ledger.order.dispute_revoked',
                     'ledger.order.dispute_reduced', 'ledger.order.amount_received')
        -- a payment divides earlier refunds again if it received another amount than was ordered
        or (topic = 'ledger.order.paid'
            and jsonb_typeof(convert_from(state, 'UTF8')::jsonb -> 'targets') = 'object')
     order by originator_id, originator_version desc
), shares as (
    select o.order_id, s.seller_id, s.amount as share, coalesce((w.targets ->> s.seller_id)::numeric, 0) as owed,
           bool_and(o.refunded = coalesce(o.collected, o.amount)) as all_refunded
      from orders o
     cross join jsonb_to_recordset(o.shares) as s (seller_id text, amount numeric)
      left join owed w on w.originator_id = o.stream_id
     where o.status = 'paid'
     group by 1, 2, 3, 4
), sent as (
    select t.order_id, t.seller_id,
           coalesce(sum(t.amount - t.amount_reversed) filter (
               where t.status in ('completed', 'reversal_pending', 'partially_reversed', 'reversed')
                  or (t.status = 'permanently_failed' and t.stripe_transfer_id <> '')), 0) as net,
           bool_and(t.status in ('completed', 'partially_reversed', 'reversed', 'cancelled')
                    and not exists (select from transfer_reversals r
                                     where r.transfer_id = t.transfer_id
                                       and (r.status in ('queued', 'requested', 'failed') or r.settled_by = 'external'))
                    -- drift and held evidence raise alarms; the sums may differ until a person has resolved them
                    and not exists (select from alarms a where a.kind in ('drift', 'evidence_held')
                                                           and a.subject = t.transfer_id::text)) as settled,
           bool_or(exists (select from ledger_events e where e.originator_id = t.transfer_id and e.originator_version = 1
                                                         and e.topic = 'ledger.seller_transfer.imported')) as imported,
           -- counted as recovered, but not by Stripe: settled elsewhere, or written off
           coalesce(sum((select sum(r.amount) from transfer_reversals r
                          where r.transfer_id = t.transfer_id and r.status = 'resolved')), 0) as resolved
      from seller_transfers t
     group by 1, 2
)
select s.order_id, format('seller %s has %s of a share of %s, of which refunds take %s', s.seller_id, t.net, s.share, s.owed)
  from shares s join sent t using (order_id, seller_id)
 where not t.imported and (t.net < 0 or t.net > s.share + t.resolved
                           or (t.settled and t.net not between s.share - s.owed and s.share - s.owed + t.resolved));

-- every_share_has_its_transfer: an order that is paid has a transfer for each of its sellers
select o.order_id, format('seller %s has no transfer', s.seller_id)
  from orders o cross join jsonb_to_recordset(o.shares) as s (seller_id text, amount numeric)
 where o.status = 'paid' and not exists (
       select from seller_transfers t where t.order_id = o.order_id and t.seller_id = s.seller_id and t.cause = 'sale');

-- webhooks_are_kept: a fact that a webhook caused still has that webhook in the inbox (nothing here can check the bytes of its body)
select e.originator_id::text, format('its version %s (position %s) was caused by %s, which is not in the inbox',
                                     e.originator_version, e.notification_id, e.source)
  from (select originator_id, originator_version, notification_id, convert_from(state, 'UTF8')::jsonb ->> 'source' as source
          from ledger_events
         where topic in ('ledger.order.paid', 'ledger.order.amount_received', 'ledger.order.payment_not_counted',
                         'ledger.refund.succeeded', 'ledger.refund.failed', 'ledger.refund.under_review')
            or topic ^@ any (array['ledger.dispute.', 'ledger.payout.'])) e
 where split_part(e.source, ':', 1) in ('hyperswitch', 'stripe')
   and e.source not in ('hyperswitch:read', 'hyperswitch:answer')  -- answers of the PSP to our requests
   and not exists (select from webhook_inbox i
                    where i.provider = split_part(e.source, ':', 1)
                      and i.event_id = substr(e.source, strpos(e.source, ':') + 1));

-- webhooks_point_at_facts: the position in a webhook's row exists
select i.inbox_id::text, format('it says that it caused position %s, which is not there', i.position)
  from webhook_inbox i
 where i.position is not null and not exists (select from ledger_events e where e.notification_id = i.position);

-- handled_webhooks_are_closed: a webhook that is closed, and only such a webhook, has the instant of its handling
select inbox_id::text, format('it is %s, handled %s, and caused position %s', status, coalesce(handled_at::text, 'never'),
                              coalesce(position::text, 'none'))
  from webhook_inbox
 where (status in ('done', 'ignored', 'discarded', 'dead')) <> (handled_at is not null);
