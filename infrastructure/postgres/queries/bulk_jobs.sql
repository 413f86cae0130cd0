-- matches: the transfers that a retry could concern, oldest first
select transfer_id
  from seller_transfers
 where status = any(%(statuses)s)
   and created_at > '-infinity'  -- always true; see seller_transfers_status_idx
   and true /* filters */
 order by created_at, transfer_id
 limit %(limit)s;

-- money: the open money behind transfers
select currency, direction, sum(amount)::bigint as amount, count(*) as number
  from open_money where transfer_id = any(%s::uuid[])
 group by currency, direction order by currency, direction desc;

-- begin: a new job; none if its id is taken. A job without targets is at its end
with begun as (
    insert into bulk_jobs (job_id, kind, filter, actor, reason, targets, ended_at)
    values (%(job_id)s, %(kind)s, %(filter)s, %(actor)s, %(reason)s, %(targets)s::uuid[],
            case when cardinality(%(targets)s::uuid[]) = 0 then now() end)
    on conflict (job_id) do nothing
    returning job_id
)
select job_id, pg_notify('ledger_work', '') from begun;

-- job: one job
select job_id, kind, filter, actor, reason, cardinality(targets) as total, done, refused, last_refusal, refusals, cancelled_by,
       cancel_reason, created_at, ended_at
  from bulk_jobs
 where job_id = %s;

-- recent: the newest jobs
select job_id, kind, filter, actor, reason, cardinality(targets) as total, done, refused, last_refusal, refusals, cancelled_by,
       cancel_reason, created_at, ended_at
  from bulk_jobs
 order by created_at desc, job_id limit %s;

-- cancel: a job ends before its next target
update bulk_jobs set ended_at = now(), cancelled_by = %(actor)s, cancel_reason = %(reason)s
 where job_id = %(job_id)s and ended_at is null;

-- claim: the oldest job that no other process works on, with its next targets
update bulk_jobs b set leased_by = %(holder)s, leased_until = now() + %(lease)s
 where b.job_id = (select job_id from bulk_jobs
                    where ended_at is null and (leased_until is null or leased_until < now() or leased_by = %(holder)s)
                    order by created_at, job_id limit 1 for update skip locked)
returning b.job_id, b.kind, b.actor, b.reason, b.done, b.targets[b.done + 1 : b.done + %(limit)s] as targets;

-- advance: one more target is handled, if the job is still ours, is not cancelled and stands where we left it
update bulk_jobs
   set done = done + 1, refused = refused + %(refused)s, last_refusal = coalesce(%(refusal)s, last_refusal),
       refusals = case when %(refusal)s::text is null or jsonb_array_length(refusals) >= %(most)s then refusals
                       else refusals || jsonb_build_object('transfer_id', targets[done + 1], 'reason', %(refusal)s::text) end,
       leased_until = now() + %(lease)s, ended_at = case when done + 1 = cardinality(targets) then now() end
 where job_id = %(job_id)s and leased_by = %(holder)s and done = %(done)s and ended_at is null;

-- release: other processes may go on with these jobs
update bulk_jobs set leased_by = null, leased_until = null where leased_by = %s and ended_at is null;

-- acted: whether a retry with this reason is stored for a transfer
select 1 from ledger_events
 where originator_id = %s
   and topic in ('ledger.seller_transfer.retry_requested', 'ledger.seller_transfer.reopened')
   and convert_from(state, 'UTF8')::json ->> 'reason' = %s
 limit 1;

-- webhooks: the parked and dead webhooks that a job could concern, oldest first; a filter that is null does not filter
select inbox_id
  from webhook_inbox
 where status = any(case when %(status)s::text is null then array['parked', 'dead'] else array[%(status)s::text] end)
   and inbox_id > 0  -- always true; see webhook_inbox_unhandled_idx
   and (%(provider)s::text is null or provider = %(provider)s)
   and (%(event_type)s::text is null or event_type = %(event_type)s)
   and (%(reason)s::text is null or starts_with(reason, %(reason)s))
   and (%(received_from)s::timestamptz is null or received_at >= %(received_from)s)
   and (%(received_to)s::timestamptz is null or received_at < %(received_to)s)
 order by inbox_id
 limit %(limit)s;
