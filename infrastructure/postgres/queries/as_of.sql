-- streams_of_order: the order itself, its refunds, its disputes and its transfers, oldest first
select stream_id from (
    select 0 as rank, stream_id, created_at from orders where order_id = %(order_id)s
    union all
    select 1, stream_id, created_at from refunds where order_id = %(order_id)s
    union all
    select 1, stream_id, created_at from disputes where order_id = %(order_id)s
    union all
    select 2, transfer_id, created_at from seller_transfers where order_id = %(order_id)s
) s
 order by rank, created_at, stream_id;

-- transfers_of_seller: a page of a seller's transfers created by an instant, oldest first
select created_at, transfer_id
  from seller_transfers
 where seller_id = %(seller_id)s
   and (%(begun_by)s::timestamptz is null or created_at <= %(begun_by)s)
   and (%(created_at)s::timestamptz is null or (created_at, transfer_id) > (%(created_at)s, %(transfer_id)s::uuid))
 order by created_at, transfer_id
 limit %(limit)s;

-- webhooks_behind: the webhooks whose last facts are at these positions
select position, provider, event_id from webhook_inbox where position = any(%s);
