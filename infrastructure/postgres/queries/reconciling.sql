-- paid_by: which transfers these of Stripe's have paid
select stripe_transfer_id, transfer_id from seller_transfers where stripe_transfer_id = any(%s);

-- alike: ours that these of Stripe's, which carry no id of ours, may be: by transfer group, and by destination
select transfer_id from seller_transfers where order_id = any(%(groups)s) and destination = any(%(destinations)s)
union
select transfer_id
  from seller_transfers
 where destination = any(%(destinations)s) and transfer_group = any(%(groups)s)
   and (stripe_transfer_id is null or stripe_transfer_id = '');

-- ignored: which of these findings somebody lets stand
select finding_id, actor, reason, updated_at from findings where finding_id = any(%s) and status = 'ignored';

-- see: a page of Stripe's list
insert into seen_at_stripe select unnest(%s::text[]) on conflict do nothing;

-- unseen: what was created here in this time, is paid, and was not on Stripe's list; oldest first, after a cursor
select t.transfer_id, t.stripe_transfer_id, t.created_at
  from seller_transfers t
 where t.stripe_transfer_id <> '' and t.created_at >= %(since)s and t.created_at < %(until)s
   and (%(after)s::uuid is null or (t.created_at, t.transfer_id) > (%(after_at)s::timestamptz, %(after)s::uuid))
   and not exists (select from seen_at_stripe s where s.stripe_transfer_id = t.stripe_transfer_id)
 order by t.created_at, t.transfer_id
 limit 500;
