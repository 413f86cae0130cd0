-- exact: everything that one of these texts names; each branch is one look-up in an index
with given as (
    select distinct q, case when q ~* '^[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}$' then q::uuid end as id,
           case when q ~ '^[0-9]{1,18}$' then q::bigint end as number
      from unnest(%(texts)s::text[]) as t (q)
), named (q, kind, id, matched) as (
    select q, 'transfer', t.transfer_id::text, 'transfer_id' from given join seller_transfers t on t.transfer_id = given.id
    union select q, 'transfer', t.transfer_id::text, 'stripe_transfer_id' from given
            join seller_transfers t on t.stripe_transfer_id = q and t.stripe_transfer_id <> ''
    union select q, 'transfer', t.transfer_id::text, 'reversal_id' from given join transfer_reversals t on t.reversal_id = given.id
    union select q, 'transfer', t.transfer_id::text, 'stripe_reversal_id' from given
            join transfer_reversals t on t.stripe_reversal_id = q and t.stripe_reversal_id <> ''
    union select q, 'transfer', e.originator_id::text, 'request_id' from given
            join ledger_events e on provider_request_id(e.state) = q and position('"request_id":"'::bytea in e.state) > 0
           where e.topic like 'ledger.seller_transfer.%%'
    union select q, 'order', o.order_id, 'order_id' from given join orders o on o.order_id = q
    union select q, 'order', o.order_id, 'payment_id' from given
           cross join lateral (select order_id from orders where payment_id = q limit 20) o
    union select q, 'order', o.order_id, 'source_transaction' from given
           cross join lateral (select order_id from orders where source_transaction = q limit 20) o
    union select q, 'order', o.order_id, 'connector_payment' from given
           cross join lateral (select order_id from orders where connector_payment = q limit 20) o
    union select q, 'order', t.order_id, 'order_id' from given
           cross join lateral (select order_id from seller_transfers where order_id = q limit 1) t
           where not exists (select from orders o where o.order_id = q)
    union select q, 'refund', r.refund_id, 'refund_id' from given join refunds r on r.refund_id = q
    union select q, 'refund', r.refund_id, 'psp_refund_id' from given join refunds r on r.psp_refund_id = q
    union select q, 'dispute', d.dispute_id, 'dispute_id' from given
            join disputes d on d.provider in ('stripe', 'hyperswitch') and d.dispute_id = q
    union select q, 'seller', t.seller_id, 'seller_id' from given
           cross join lateral (select seller_id from seller_transfers where seller_id = q limit 1) t
    union select q, 'seller', t.seller_id, 'destination' from given
           cross join lateral (select seller_id from seller_transfers where destination = q order by seller_id limit 1) t
    union select q, 'payout', p.payout_id, 'payout_id' from given join payouts p on p.payout_id = q
    union select q, 'webhook', i.inbox_id::text, 'event_id' from given
            join webhook_inbox i on i.provider in ('stripe', 'hyperswitch') and i.event_id = q
    union select q, 'webhook', i.inbox_id::text, 'inbox_id' from given join webhook_inbox i on i.inbox_id = given.number
    union select q, 'finding', f.finding_id, 'finding_id' from given join findings f on f.finding_id = q
    union select q, 'finding', f.finding_id, 'finding_id' from given join found_differences f on f.finding_id = q
), hits as (
    -- one row for each thing, although two of its names may be equal
    select distinct on (q, kind, id) q, kind, id, matched from named
     order by q, kind, id, matched <> kind || '_id', matched
)
select h.q as query, h.kind, h.id, h.matched, s.status, s.order_id, s.seller_id, s.amount, s.currency, s.waiting_for, s.last_error, s.at
  from hits h
  left join lateral (
      select status, order_id, seller_id, amount, currency, waiting_for, last_error, updated_at as at from seller_transfers
       where h.kind = 'transfer' and transfer_id = case when h.kind = 'transfer' then h.id::uuid end
      union all
      select status, order_id, null, amount, currency, null, last_error, updated_at from orders
       where h.kind = 'order' and order_id = h.id
      union all
      select status, order_id, null, amount, currency, null, last_error, updated_at from refunds
       where h.kind = 'refund' and refund_id = h.id
      union all
      (select status, order_id, null, amount, currency, null, reason, updated_at from disputes
        where h.kind = 'dispute' and provider in ('stripe', 'hyperswitch') and dispute_id = h.id limit 1)
      union all
      (select status, null, seller_ids[1], amount, currency, null, last_error, updated_at from payouts
        where h.kind = 'payout' and payout_id = h.id limit 1)
      union all
      select status, null, null, null, null, subject, reason, received_at from webhook_inbox
       where h.kind = 'webhook' and inbox_id = case when h.kind = 'webhook' then h.id::bigint end) s on true
 order by h.q, h.kind, h.id, h.matched;

-- prefixes: orders, refunds and transfers whose id begins with a text; `upper` is the last UUID with it
(select 'order' as kind, order_id as id, 'order_id' as matched, status, order_id, null as seller_id, amount, currency,
        null as waiting_for, last_error, updated_at as at
   from orders where order_id like %(pattern)s order by order_id using ~<~ limit %(limit)s)
union all
(select 'refund', refund_id, 'refund_id', status, order_id, null, amount, currency, null, last_error, updated_at
   from refunds where refund_id like %(pattern)s order by refund_id using ~<~ limit %(limit)s)
union all
(select 'transfer', transfer_id::text, 'transfer_id', status, order_id, seller_id, amount, currency, waiting_for, last_error, updated_at
   from seller_transfers where transfer_id between %(lower)s::uuid and %(upper)s::uuid order by transfer_id limit %(limit)s);
