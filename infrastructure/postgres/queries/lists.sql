-- transfers: transfers, newest first
select transfer_id, order_id, seller_id, destination, cause, amount, currency, status, amount_reversed, stripe_transfer_id,
       stripe_reversal_id, retry_count, next_retry_at, waiting_for, last_error, refund_id, transfer_group, source_transaction,
       version, created_at, updated_at
  from seller_transfers
 where created_at > '-infinity' and true /* filters */
 order by created_at desc, transfer_id desc
 limit %(limit)s;

-- of_refund: the transfers from which a refund takes money, or would
select transfer_id from transfer_reversals where refund_id = %(refund_id)s
union
select (part ->> 'transfer_id')::uuid from refunds, jsonb_array_elements(allocation) part
 where refunds.refund_id = %(refund_id)s and part ->> 'transfer_id' is not null
union
select (part ->> 'transfer_id')::uuid from refunds, jsonb_array_elements(allocation) part
 where refunds.psp_refund_id = %(refund_id)s and part ->> 'transfer_id' is not null;

-- at_stripe: the transfers with this transfer or reversal at Stripe
select transfer_id from seller_transfers where stripe_transfer_id = %(stripe_id)s and stripe_transfer_id <> ''
union
select transfer_id from seller_transfers where stripe_reversal_id = %(stripe_id)s and stripe_reversal_id <> ''
union
select transfer_id from transfer_reversals where stripe_reversal_id = %(stripe_id)s and stripe_reversal_id <> '';

-- orders: orders, newest first
select order_id, stream_id, currency, amount, refunded, collected, status, payment_id, source_transaction, shares,
       connector_payment, last_error, retry_count, next_retry_at, version, created_at, updated_at
  from orders
 where true /* filters */
 order by created_at desc, order_id desc
 limit %(limit)s;

-- refunds: refunds, newest first
select stream_id, refund_id, psp_refund_id, order_id, amount, currency, status, reason, allocation, last_error, retry_count,
       next_retry_at, version, created_at, updated_at
  from refunds
 where true /* filters */
 order by created_at desc, refund_id desc
 limit %(limit)s;

-- disputes: disputes, newest first
select stream_id, dispute_id, provider, order_id, amount, currency, status, withdrawn, reinstated, reason, evidence_due_by, version,
       created_at, updated_at
  from disputes
 where true /* filters */
 order by created_at desc, dispute_id desc
 limit %(limit)s;

-- inbox: webhooks without their bodies, newest first
select inbox_id, provider, event_id, event_type, received_at, status, reason, subject, attempts, due_at, handled_at,
       position, source
  from webhook_inbox
 where true /* filters */
 order by inbox_id desc
 limit %(limit)s;

-- findings: differences of the newest reconciliation, then decisions about others, newest first
(select * from (
    select d.finding_id, d.kind, coalesce(f.status, 'undecided') as status, d.stripe_id, d.stripe_transfer_id, d.transfer_id,
           d.reversal_id, d.at_risk, d.currency, d.detail, d.obstacle, d.awaits_others, f.actor, f.reason, d.since, d.found_at,
           f.updated_at as decided_at, d.found_at as at
      from found_differences d left join findings f on f.finding_id = d.finding_id) found
  where true /* filters */ order by at desc, finding_id desc limit %(limit)s)
union all
(select * from (
    select f.finding_id, f.kind, f.status, f.stripe_id, f.stripe_transfer_id, f.transfer_id, f.reversal_id, f.at_risk, f.currency,
           f.detail, null, false, f.actor, f.reason, null::timestamptz, null::timestamptz, f.updated_at as decided_at,
           f.updated_at as at
      from findings f
     where not exists (select from found_differences d where d.finding_id = f.finding_id)) decided
  where true /* filters */ order by at desc, finding_id desc limit %(limit)s)
order by at desc, finding_id desc
limit %(limit)s;

-- floor: the last row that this page may read when a filter has no index; no row if the table ends before
select created_at, transfer_id from seller_transfers
 where created_at > '-infinity'
   and (%(created_at)s::timestamptz is null or (created_at, transfer_id) < (%(created_at)s, %(transfer_id)s::uuid))
 order by created_at desc, transfer_id desc
 offset %(window)s limit 1;

-- debtors: sellers with open money of theirs, the largest or the oldest debt first, after a cursor
with money as materialized (
    select seller_id, currency,
           coalesce(sum(amount) filter (where direction = 'from_sellers' and not stuck), 0)::bigint as owed,
           coalesce(sum(amount) filter (where direction = 'from_sellers' and stuck), 0)::bigint as stuck,
           coalesce(sum(amount) filter (where direction = 'to_sellers'), 0)::bigint as to_send,
           min(since) filter (where direction = 'from_sellers') as oldest_debt_at,
           coalesce(sum(amount) filter (where direction = 'from_sellers' and since > now() - interval '1 day'), 0)::bigint as up_to_1_day,
           coalesce(sum(amount) filter (where direction = 'from_sellers' and since <= now() - interval '1 day'
                                                                         and since > now() - interval '7 days'), 0)::bigint as up_to_7_days,
           coalesce(sum(amount) filter (where direction = 'from_sellers' and since <= now() - interval '7 days'
                                                                         and since > now() - interval '30 days'), 0)::bigint as up_to_30_days,
           coalesce(sum(amount) filter (where direction = 'from_sellers' and since <= now() - interval '30 days'), 0)::bigint as older
      from open_money
     where seller_id is not null and (%(currency)s::text is null or currency = %(currency)s)
       and (%(sellers)s::text[] is null or seller_id = any(%(sellers)s::text[]))
     group by seller_id, currency
), owing as (
    -- windows instead of a join: without statistics about `money`, the planner would join each row with each row
    select m.*, max(owed + stuck) over seller as debt, min(oldest_debt_at) over seller as oldest
      from money m window seller as (partition by seller_id)
), ranked as (
    select o.*, dense_rank() over (order by seller_id /* order */) as rank from owing o where true /* filters */
)
select seller_id, currency, owed, stuck, to_send, oldest_debt_at, up_to_1_day, up_to_7_days, up_to_30_days, older, debt
  from ranked where rank <= %(limit)s order by rank, currency;

-- sellers: ids of sellers in the order of their names, after a cursor; a loose index scan, since a seller has many transfers
with recursive seller (seller_id, rank) as (
    (select seller_id, 1 from seller_transfers where seller_id > %(after)s order by seller_id limit 1)
    union all
    select (select t.seller_id from seller_transfers t where t.seller_id > s.seller_id order by t.seller_id limit 1), s.rank + 1
      from seller s
     where s.seller_id is not null and s.rank < %(limit)s
)
select seller_id from seller where seller_id is not null order by rank;
