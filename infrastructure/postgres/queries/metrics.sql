-- open_transfers: how many transfers have each status that is open or needs a person; each is a small range of an index
select status, count(*) from seller_transfers
 where created_at > '-infinity'  -- always true; see seller_transfers_status_idx
   and status in ('pending', 'failed', 'reversal_pending', 'permanently_failed')
 group by status;

-- settled_transfers: how many transfers have each other status; this reads the index of all transfers, so it is no part of a scrape
select status, count(*) from seller_transfers
 where created_at > '-infinity' and status in ('completed', 'reversed', 'partially_reversed', 'cancelled')
 group by status;

-- oldest_webhooks: the age in seconds of the oldest webhook that is not handled, by status
select given.status,
       coalesce((select extract(epoch from now() - i.received_at) from webhook_inbox i
                  -- the second condition is implied by the first, and lets webhook_inbox_unhandled_idx be used
                  where i.status = given.status and i.status in ('stored', 'parked', 'dead') and i.inbox_id > 0
                  order by i.inbox_id limit 1), 0)::float8
  from unnest(array['stored', 'parked', 'dead']) as given (status);
