-- human_acts: facts of these kinds between two positions, newest first
select originator_id, originator_version, topic, state, notification_id as position, digest
  from ledger_events
 where notification_id > %(after)s and notification_id < %(before)s and topic = any(%(topics)s)
 order by notification_id desc
 limit %(limit)s;

-- sign_out: refuse a session of the console until it would have ended, and forget those that have ended
with ended as (delete from signed_out_sessions where ends_at < %(now)s)
insert into signed_out_sessions (digest, ends_at) values (%(digest)s, %(ends_at)s)
on conflict (digest) do nothing;

-- is_signed_out: whether a session of the console was signed out
select 1 from signed_out_sessions where digest = %(digest)s;

-- debts_of_seller: the reversals of a seller that are not done, oldest first
select * from (
    select r.transfer_id, r.order_id, r.refund_id, r.amount, r.currency, r.status, r.created_at as since,
           coalesce(t.waiting_for, r.waiting_for) as waiting_for, t.next_retry_at, t.last_error
      from transfer_reversals r join seller_transfers t on t.transfer_id = r.transfer_id
     where r.status in ('queued', 'requested') and r.seller_id = %(seller_id)s
    union all
    select r.transfer_id, r.order_id, r.refund_id, r.amount, r.currency, r.status, r.created_at, 'operator', null, t.last_error
      from transfer_reversals r join seller_transfers t on t.transfer_id = r.transfer_id
     where r.status = 'failed' and r.seller_id = %(seller_id)s) debts
 order by since, transfer_id
 limit %(limit)s;
