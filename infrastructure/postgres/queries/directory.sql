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
