-- find_order: the orders that a webhook names, one row per match; of a payment's orders two are enough to show an ambiguity
with refund as (
    select order_id, stream_id from refunds where refund_id = %(refund_id)s::text
    union
    select order_id, stream_id from refunds where psp_refund_id = %(refund_id)s::text
    limit 1
), payment as (
    select order_id, status from orders where payment_id = any(%(payment_ids)s::text[])
    union
    select order_id, status from orders where source_transaction = any(%(source_transactions)s::text[])
    order by order_id limit 2
)
select 'refund', r.order_id, coalesce(o.status <> 'open', false), r.stream_id
  from refund r left join orders o on o.order_id = r.order_id
union all
select 'id', order_id, status <> 'open', null from orders where order_id = any(%(order_ids)s::text[])
union all
select 'payment', order_id, status <> 'open', null from payment;

-- refund_named: the refund with either name; two index look-ups, because OR might choose a scan
select stream_id from refunds where refund_id = %(name)s
union
select stream_id from refunds where psp_refund_id = %(name)s
limit 1;

-- transfer_at_stripe: our transfer with this id at Stripe, one at most
select transfer_id from seller_transfers where stripe_transfer_id = %s and stripe_transfer_id <> '';

-- sellers_of: the sellers of an account; a loose index scan, since a seller has many transfers and an account few sellers
with recursive seller (seller_id, rank) as (
    (select seller_id, 1 from seller_transfers where destination = %(account)s order by seller_id limit 1)
    union all
    select (select t.seller_id from seller_transfers t
             where t.destination = %(account)s and t.seller_id > s.seller_id order by t.seller_id limit 1), s.rank + 1
      from seller s
     where s.seller_id is not null and s.rank < 1000
)
select seller_id from seller where seller_id is not null;

-- waiting: transfers that wait for an account or for funds; the filter on both words selects the partial index
select transfer_id from seller_transfers
 where waiting_for in ('account', 'funds') and waiting_for = %(waiting_for)s and status = %(status)s
   and (%(account)s::text is null or destination = %(account)s)
   and (%(after)s::uuid is null or transfer_id > %(after)s::uuid)
 order by transfer_id
 limit %(limit)s;

-- unsent_of: a seller's transfers that are not paid; the statuses select the index of the seller's transfers
select transfer_id from seller_transfers
 where seller_id = %(seller_id)s and status in ('pending', 'failed', 'permanently_failed')
   and (%(after)s::uuid is null or transfer_id > %(after)s::uuid)
 order by transfer_id
 limit %(limit)s;

-- webhook: the names and the status of one stored webhook
select provider, event_id, event_type, status, reason, leased_until is not null and leased_until > now()
  from webhook_inbox where inbox_id = %s;

-- alarm: one alarm, open or not
select cleared_at is null, times from alarms where kind = %s and subject = %s;

-- unpaid: payments of unpaid orders; the ones that the limit leaves out change with nth
select payment_id from orders
 where status = 'open' and payment_id is not null and created_at >= %(since)s and created_at < %(until)s
 order by hashtextextended(order_id, %(nth)s)
 limit %(limit)s;

-- still_unpaid: those of these payments that an unpaid order names
select payment_id from orders where payment_id = any(%(names)s) and status = 'open';

-- refund_statuses: the PSP's status of refunds, and the version here; one that succeeded and was set aside is under review only in the ledger
select given.name, case when r.status = 'review' and exists (
           select from orders o
             join ledger_events e on e.originator_id = o.stream_id and e.topic = 'ledger.order.refund_set_aside'
            where o.order_id = r.order_id
              and convert_from(e.state, 'UTF8')::json ->> 'refund_id' in (r.refund_id, r.psp_refund_id)
       ) then 'succeeded' else r.status end, r.version
  from unnest(%s::text[]) as given (name)
  join lateral (select * from refunds where refund_id = given.name
                union
                select * from refunds where psp_refund_id = given.name
                limit 1) r on true;

-- dispute_statuses: status and version of disputes
select dispute_id, status, version from disputes where provider = %(provider)s and dispute_id = any(%(names)s);

-- transfers_of: all transfers of an order
select transfer_id from seller_transfers where order_id = %s;

-- claimed: those of Stripe's transfers that belong to a transfer of ours; a name that is not a UUID is never ours
select s.id
  from unnest(%(ids)s::text[], %(names)s::text[]) s (id, name)
 where exists (select from seller_transfers t where t.stripe_transfer_id = s.id and t.stripe_transfer_id <> '')
    or exists (select from seller_transfers t
                where t.transfer_id = case when s.name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then s.name::uuid end);
