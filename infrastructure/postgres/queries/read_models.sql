-- transfers: newest first, after a cursor; a filter that is null does not filter
select transfer_id, order_id, seller_id, destination, cause, amount, currency, status, amount_reversed, stripe_transfer_id,
       stripe_reversal_id, retry_count, next_retry_at, waiting_for, last_error, refund_id, transfer_group, source_transaction,
       version, created_at, updated_at
  from seller_transfers
 where created_at > '-infinity'  -- always true; see seller_transfers_status_idx
   and (%(status)s::text is null or status = %(status)s)
   and (%(seller_id)s::text is null or seller_id = %(seller_id)s)
   and (%(order_id)s::text is null or order_id = %(order_id)s)
   and (%(created_at)s::timestamptz is null or (created_at, transfer_id) < (%(created_at)s, %(transfer_id)s::uuid))
 order by created_at desc, transfer_id desc
 limit %(limit)s;

-- some_transfers: the transfers with these ids
select transfer_id, order_id, seller_id, destination, cause, amount, currency, status, amount_reversed, stripe_transfer_id,
       stripe_reversal_id, retry_count, next_retry_at, waiting_for, last_error, refund_id, transfer_group, source_transaction,
       version, created_at, updated_at
  from seller_transfers
 where transfer_id = any(%s);

-- reversals: the reversals of these transfers, oldest first
select reversal_id, transfer_id, order_id, seller_id, refund_id, amount, currency, status, reason, settled_by,
       stripe_reversal_id, waiting_for, created_at, updated_at
  from transfer_reversals
 where transfer_id = any(%s)
 order by created_at, reversal_id;

-- order: one order
select order_id, stream_id, currency, amount, refunded, collected, status, payment_id, source_transaction, shares,
       connector_payment, last_error, retry_count, next_retry_at, version, created_at, updated_at
  from orders
 where order_id = %s;

-- refunds_of: an order's refunds, oldest first
select stream_id, refund_id, psp_refund_id, order_id, amount, currency, status, reason, allocation, last_error, retry_count,
       next_retry_at, version, created_at, updated_at
  from refunds
 where order_id = %s
 order by created_at, stream_id;

-- refund: one refund under any of its names
select stream_id, refund_id, psp_refund_id, order_id, amount, currency, status, reason, allocation, last_error, retry_count,
       next_retry_at, version, created_at, updated_at
  from refunds
 where refund_id = %(name)s or psp_refund_id = %(name)s
 -- the caller's own name before the provider's, should they ever cross
 order by (refund_id = %(name)s) desc
 limit 1;

-- dispute: one dispute by the provider's id
select stream_id, dispute_id, provider, order_id, amount, currency, status, withdrawn, reinstated, reason, evidence_due_by, version,
       created_at, updated_at
  from disputes
 where dispute_id = %s
 order by created_at
 limit 1;

-- reversal_statuses: the statuses of these reversals
select reversal_id, status from transfer_reversals where reversal_id = any(%s);

-- sale_statuses: the statuses of an order's sales, by seller
select seller_id, status from seller_transfers where order_id = %s and cause = 'sale';

-- balance: a seller's received and reversed amounts, by currency; `projections.balances` is the same rule for the past
select currency,
       coalesce(sum(amount) filter (where status in ('completed', 'reversal_pending', 'partially_reversed', 'reversed')
                                       or (status = 'permanently_failed'
                                           and (stripe_transfer_id is not null or r.failed > 0))), 0)::bigint,
       coalesce(sum(amount_reversed), 0)::bigint,
       coalesce(sum(r.pending), 0)::bigint,
       coalesce(sum(r.stuck), 0)::bigint
  from seller_transfers t
  left join lateral (
       select sum(amount) filter (where status in ('requested', 'queued') and waiting_for is distinct from 'operator') as pending,
              sum(amount) filter (where status = 'failed' or waiting_for = 'operator') as stuck,
              count(*) filter (where status = 'failed') as failed
         from transfer_reversals where transfer_id = t.transfer_id) r on true
 where seller_id = %s
 group by currency
 order by currency;

-- payouts: the payouts of the accounts to which a seller's transfers go, newest first
select stream_id, payout_id, account, seller_ids, amount, currency, status, arrival_date, last_error, version, created_at,
       updated_at
  from payouts
 where seller_ids @> array[%(seller_id)s::text]
 order by created_at desc, stream_id
 limit %(limit)s;

-- oldest_reversal: the age of the oldest reversal that is still owed, in seconds
select coalesce(extract(epoch from now() - min(created_at)), 0)::float8
  from transfer_reversals where status in ('requested', 'queued');

-- open_alarms: how many alarms of each kind are open
select kind, count(*) from alarms where cleared_at is null group by kind;

-- pauses: the scopes that are paused now, longest first
select stream_id, scope, paused, actor, reason, lost_since, version, created_at, updated_at
  from pauses
 where paused
 order by updated_at, scope
 limit 1000;

-- pause: the pause of one scope
select stream_id, scope, paused, actor, reason, lost_since, version, created_at, updated_at from pauses where scope = %s;

-- schema_version: the newest applied migration
select coalesce(max(version), 0) from ledger_migrations;
