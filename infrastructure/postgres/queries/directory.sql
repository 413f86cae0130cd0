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
