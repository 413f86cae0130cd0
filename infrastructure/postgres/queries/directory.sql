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

-- transfers_of: every transfer of an order
select transfer_id from seller_transfers where order_id = %s;

-- claimed: which of these of Stripe's belong to a transfer of ours; a name that is no id of ours claims nothing
select s.id
  from unnest(%(ids)s::text[], %(names)s::text[]) s (id, name)
 where exists (select from seller_transfers t where t.stripe_transfer_id = s.id and t.stripe_transfer_id <> '')
    or exists (select from seller_transfers t
                where t.transfer_id = case when s.name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then s.name::uuid end);
