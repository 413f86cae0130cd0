-- A marketplace of any size, for measurements and for the check of query plans: rows of the read models, two facts for each
-- transfer, webhooks. `bench.transfers` is the number of transfers. Sizes of open work are bounded, as they are in life: the
-- settled rows grow for ever. One seller has a tenth of all transfers; the others' shares fall with their number.
-- No work is due: a running ledger leaves these rows alone.
create temporary table sized as
select n, n / 200 as open, greatest(20, n / 100) as sellers, greatest(1000, n / 1000) as alarms
  from (select current_setting('bench.transfers')::int as n) given;
select setseed(0.5);

create temporary table made as
select i, md5('transfer ' || i)::uuid as transfer_id, 'order-' || (i + 1) / 2 as order_id,
       case when i % 10 = 0 then 'seller-huge' else 'seller-' || (power(random(), 2) * s.sellers)::int end as seller_id,
       case when i % 7 = 0 then 'USD' else 'EUR' end as currency,
       (100 + random() * 20000)::bigint as amount,
       -- the open ones are among the newest tenth
       case when i % 20 = 7 and i > s.n - 20 * s.open then
                 (array['pending', 'pending', 'failed', 'permanently_failed', 'reversal_pending'])[1 + least(4, i / 20 % 8)]
            when i % 60 = 1 then 'reversed' when i % 20 = 1 then 'partially_reversed'
            when i % 997 = 0 then 'cancelled' else 'completed' end as status,
       now() - interval '700 days' * (1 - i::float8 / s.n) - interval '1 hour' as at
  from sized s, generate_series(1, s.n) i;

insert into seller_transfers
select transfer_id, order_id, seller_id, 'acct_' || seller_id, 'sale', amount, currency, status,
       case when status = 'reversed' then amount when status = 'partially_reversed' then amount / 2 else 0 end,
       case when status in ('completed', 'reversed', 'partially_reversed', 'reversal_pending') then 'tr_' || i end,
       case when status in ('reversed', 'partially_reversed') then 'trr_' || i end,
       case when status = 'completed' then 0 else 1 end,
       case when status in ('pending', 'failed', 'reversal_pending') then now() + interval '30 days' end,
       case when status in ('pending', 'failed', 'reversal_pending') then (array['funds', 'account', null, null])[1 + i / 160 % 4] end,
       case when status in ('failed', 'reversal_pending', 'permanently_failed') then 'balance_insufficient: the balance is too low' end,
       case when i % 20 = 1 then 'refund-' || i end, order_id, 'ch_' || (i + 1) / 2, 2, at, at, null, null
  from made order by i;

insert into transfer_reversals
select md5('reversal ' || i)::uuid, transfer_id, order_id, seller_id, 'refund-' || i,
       case when status = 'reversed' then amount else amount / 2 end, currency,
       case when status = 'reversal_pending' then 'requested' when status = 'permanently_failed' then 'failed' else 'reversed' end,
       'refund', case when status in ('reversed', 'partially_reversed') then 'us' end,
       case when status in ('reversed', 'partially_reversed') then 'trr_' || i end, null, at, at
  from made where status in ('reversed', 'partially_reversed', 'reversal_pending')
              or (status = 'permanently_failed' and i / 160 % 2 = 0)
 order by i;

insert into orders
select order_id, md5(order_id)::uuid, 'EUR', 50000, 0, 50000,
       case when i % 200 = 1 then 'open' else 'paid' end, case when i % 200 <> 1 then 'pay_' || order_id end, 'ch_' || (i + 1) / 2,
       json_build_array(json_build_object('seller_id', seller_id, 'amount', amount, 'destination', 'acct_' || seller_id)),
       'pi_' || order_id, null, 2, at, at
  from made where i % 2 = 1 order by i;

insert into refunds
select md5('refund-' || i)::uuid, 'refund-' || i, 'psp-refund-' || i, order_id, amount / 2, currency,
       case when i % 20000 = 1 then 'review' else 'succeeded' end, null,
       json_build_array(json_build_object('seller_id', seller_id, 'amount', amount / 2, 'transfer_id', transfer_id,
                                          'reversal_id', md5('reversal ' || i)::uuid)), null, 2, at, at
  from made where i % 20 = 1 order by i;

insert into disputes
select md5('dispute ' || i)::uuid, 'dp_' || i, case when i % 2 = 0 then 'stripe' else 'hyperswitch' end, order_id, amount, currency,
       case when row_number() over (order by i desc) <= 100 then 'opened' else 'won' end, false, false, 'fraudulent',
       at + interval '7 days', 2, at, at
  from made where i % 200 = 3;

insert into payouts
select md5('payout ' || i)::uuid, 'po_' || i, 'acct_' || seller_id, array[seller_id], amount, currency, 'paid', at, null, 2, at, at
  from made where i % 100 = 0;

insert into findings
select md5('finding ' || i)::uuid, 'finding-' || i, 'unclaimed_transfer', 'ignored', 'tr_x' || i, 'tr_x' || i, transfer_id, null,
       amount, currency, 'decided', 'mia', 'known', 1, at, at
  from made where i % 2000 = 0;

insert into found_differences
select 'finding-' || i, 'unclaimed_transfer', 'tr_x' || i, 'tr_x' || i, transfer_id, null, amount, currency, 'not in the ledger',
       null, false, at, now()
  from made where i % 2000 in (0, 40);

insert into alarms
select case when status = 'permanently_failed' then 'permanently_failed' else 'overdue' end, transfer_id, coalesce(last_error, 'not sent in time'), created_at,
       created_at, 1, case when row_number() over (order by status = 'permanently_failed' desc, created_at desc) > s.alarms then now() end
  from seller_transfers t, sized s
 where created_at > '-infinity' and status in ('pending', 'failed', 'reversal_pending', 'permanently_failed');

insert into alarms
select 'overdue', transfer_id, 'not sent in time', at, at, 1, at + interval '1 hour' from made where i % 5 = 3;

insert into pauses
select md5('pause ' || i)::uuid, 'seller:seller-' || i, i % 2 = 0, 'mia', 'under review', null, 1, now(), now()
  from generate_series(1, 40) i;

insert into bulk_jobs (job_id, kind, filter, actor, reason, targets, done, ended_at)
select 'job-' || i, 'retry', '{}', 'mia', 'stripe was down', array[md5('transfer ' || i)::uuid], 1, now()
  from generate_series(1, 200) i;

insert into webhook_inbox (provider, event_id, event_type, body, received_at, status, reason, subject, due_at, handled_at, position)
select case when i % 2 = 0 then 'stripe' else 'hyperswitch' end, 'evt_' || i, 'transfer.updated',
       case when i > s.n - 10000 then convert_to(repeat('x', 600), 'UTF8') else '' end, at,
       case when i > s.n - 2000 then 'parked' when i > s.n - 2050 then 'dead' else 'done' end,
       null, case when i > s.n - 2000 then 'order:missing-' || i end,
       case when i > s.n - 2000 then now() + interval '30 days' end,
       case when i <= s.n - 2000 then at end, case when i <= s.n - 2050 then 2 * i end
  from made, sized s where i % 2 = 0 order by i;

insert into money_samples
select now() - n * interval '15 minutes', currency, state, n * 1000, n
  from generate_series(0, 191) n, unnest(array['EUR', 'USD']) currency,
       unnest(array['moving', 'waiting_for_funds', 'held', 'in_dispute', 'stuck', 'unknown']) state;

select set_config('ledger.appending', 'yes', false);
insert into ledger_events
select transfer_id, version, 'ledger.seller_transfer.' || case when version = 1 then 'created' when status = 'completed' then 'completed'
                                                               else 'attempt_deferred' end,
       convert_to(format('{"timestamp":{"_type_":"datetime_iso","_data_":"%s"},', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')) ||
           case when version = 1 then
                format('"originator_topic":"ledger.seller_transfer","order_id":"%s","seller_id":"%s","destination":"acct_%s",'
                       '"amount":%s,"currency":"%s","transfer_group":"%s","next_retry_at":null,"source_transaction":null,'
                       '"cause":"sale","waiting_for":null}', order_id, seller_id, seller_id, amount, currency, order_id)
                when status = 'completed' then
                format('"stripe_transfer_id":"tr_%s","amount":%s,"request_id":"req_%s","note":null}', i, amount, i)
                else format('"what":"transfer","why":"funds","detail":"the balance is too low","retry_count":1,"next_retry_at":'
                            '{"_type_":"datetime_iso","_data_":"2040-01-01T00:00:00+00:00"},"epoch":1,"open":%s}',
                            case when i / 20 % 20 = 0 then 'true' else 'false' end) end, 'UTF8'),
       2 * (i - 1) + version, sha256('')
  from made, generate_series(1, 2) version
 order by i, version;
select set_config('ledger.appending', '', false);
drop table made, sized;
