-- money: the open money by currency, state and direction
select currency, state, direction, sum(amount)::numeric as amount, count(*) as number, min(since) as oldest_at
  from open_money group by currency, state, direction order by currency, state, direction;

-- items: the amounts behind one number, oldest first, after a cursor
select currency, state, direction, amount, since, subject, transfer_id, order_id, seller_id, status, waiting_for,
       next_retry_at, last_error
  from open_money
 where (%(currency)s::text is null or currency = %(currency)s) and (%(state)s::text is null or state = %(state)s)
   and (%(since)s::timestamptz is null or (since, subject) > (%(since)s, %(subject)s::text))
 order by since, subject
 limit %(limit)s;

-- sample: keep the open money of this quarter of an hour, whichever process is first, and forget what is older than two days
with sampled as (
    insert into money_samples (at, currency, state, amount, number)
    select date_bin('15 minutes', now(), 'epoch'), currency, state, sum(amount), count(*)
      from open_money
     where not exists (select from money_samples where at = date_bin('15 minutes', now(), 'epoch'))
     group by currency, state
    on conflict do nothing
)
delete from money_samples where at < now() - interval '2 days';

-- trend: the open money at the quarter hours since then
select at, currency, state, amount, number from money_samples where at >= %(since)s order by at, currency, state;

-- alarms: open alarms with the money at risk behind each, most money first
select a.kind, a.subject, a.detail, a.raised_at, a.last_seen_at, a.times,
       case when t.transfer_id is not null then 'transfer' when o.order_id is not null then 'order'
            when r.refund_id is not null then 'refund' when d.dispute_id is not null then 'dispute'
            when i.inbox_id is not null then 'webhook' when p.scope is not null then 'pause' end as subject_kind,
       coalesce(t.transfer_id::text, o.order_id, r.refund_id, d.dispute_id, i.inbox_id::text, p.scope, a.subject) as subject_id,
       coalesce(t.order_id, o.order_id, r.order_id, d.order_id) as order_id, t.seller_id,
       coalesce(t.currency, o.currency, r.currency, d.currency) as currency,
       case when t.transfer_id is not null then
                -- the amount that is owed back, or the amount that is not sent
                coalesce((select sum(v.amount) from transfer_reversals v
                           where v.transfer_id = t.transfer_id and v.status in ('queued', 'requested', 'failed')),
                         case when t.status in ('pending', 'failed') or (t.status = 'permanently_failed'
                                   and coalesce(t.stripe_transfer_id, '') = '') then t.amount else 0 end)
            when o.order_id is not null then
                (select coalesce(sum(s.amount), 0) from seller_transfers s
                  where s.order_id = o.order_id and s.status in ('pending', 'failed'))
            else coalesce(r.amount, d.amount) end::bigint as at_risk,
       case when a.kind = 'dispute_open' then d.evidence_due_by end as deadline
  from (select *, case when subject ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then subject::uuid end as stream_id
          from alarms where cleared_at is null and (%(kind)s::text is null or kind = %(kind)s)
         order by raised_at limit %(most)s) a
  left join seller_transfers t on t.transfer_id = a.stream_id
  left join orders o on o.stream_id = a.stream_id
  left join refunds r on r.stream_id = a.stream_id
  left join disputes d on d.stream_id = a.stream_id
  left join pauses p on p.stream_id = a.stream_id
  left join webhook_inbox i on a.stream_id is null and i.provider = split_part(a.subject, ':', 1)
                           and i.event_id = substr(a.subject, 2 + length(split_part(a.subject, ':', 1)))
 order by a.raised_at, a.kind, a.subject;
