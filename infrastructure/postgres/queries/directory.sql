-- refund_named: one refund under all its names; two index look-ups, where OR might choose a scan
select stream_id from refunds where refund_id = %(name)s
union
select stream_id from refunds where psp_refund_id = %(name)s
limit 1;

-- orders_paid_by: usually one
select order_id from orders where payment_id = %s order by order_id limit 2;

-- order_of_refund: the order to which a refund belongs
select order_id from refunds where refund_id = %(name)s
union
select order_id from refunds where psp_refund_id = %(name)s
limit 1;

-- knows_order: whether there is such an order
select from orders where order_id = %s;

-- orders_of_charge: by either name that an order's payment can have
select order_id from orders where payment_id = any(%(names)s)
union
select order_id from orders where source_transaction = any(%(names)s)
limit 2;

-- transfer_at_stripe: one at most
select transfer_id from seller_transfers where stripe_transfer_id = %s and stripe_transfer_id <> '';

-- sellers_of: a loose index scan, since a seller has many transfers and an account few sellers
with recursive seller (seller_id, rank) as (
    (select seller_id, 1 from seller_transfers where destination = %(account)s order by seller_id limit 1)
    union all
    select (select t.seller_id from seller_transfers t
             where t.destination = %(account)s and t.seller_id > s.seller_id order by t.seller_id limit 1), s.rank + 1
      from seller s
     where s.seller_id is not null and s.rank < 1000
)
select seller_id from seller where seller_id is not null;

-- waiting: those that can go on as soon as an account is ready or has money; the filter on both words names the index
select transfer_id from seller_transfers
 where waiting_for in ('account', 'funds') and waiting_for = %(waiting_for)s and status = %(status)s
   and (%(account)s::text is null or destination = %(account)s)
   and (%(after)s::uuid is null or transfer_id > %(after)s::uuid)
 order by transfer_id
 limit %(limit)s;

-- unpaid: which of them a limit leaves out changes with nth
select payment_id from orders
 where status = 'open' and payment_id is not null and created_at >= %(since)s and created_at < %(until)s
 order by hashtextextended(order_id, %(nth)s)
 limit %(limit)s;

-- still_unpaid: payments that have an order which is not paid
select payment_id from orders where payment_id = any(%(names)s) and status = 'open';

-- refunds_heard_of: what the PSP is known to have said of refunds; what succeeded and was set aside is under review only here
select given.name, case when r.status = 'review' and exists (
           select from orders o
             join ledger_events e on e.originator_id = o.stream_id and e.topic = 'ledger.order.refund_set_aside'
            where o.order_id = r.order_id
              and convert_from(e.state, 'UTF8')::json ->> 'refund_id' in (r.refund_id, r.psp_refund_id)
       ) then 'succeeded' else r.status end
  from unnest(%s::text[]) as given (name)
  join lateral (select * from refunds where refund_id = given.name
                union
                select * from refunds where psp_refund_id = given.name
                limit 1) r on true;

-- transfers_of: every transfer of an order
select transfer_id from seller_transfers where order_id = %s;

-- claimed: which of these of Stripe's belong to a transfer of ours; a name that is no id of ours claims nothing
select s.id
  from unnest(%(ids)s::text[], %(names)s::text[]) s (id, name)
 where exists (select from seller_transfers t where t.stripe_transfer_id = s.id and t.stripe_transfer_id <> '')
    or exists (select from seller_transfers t
                where t.transfer_id = case when s.name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then s.name::uuid end);
