-- No worker would ever find a pending reversal without a due time: the money would not be recovered, without any alarm.
-- NOT VALID: new rows obey at once, and rows older than the rule do not stop the release; 0004 validates them.
-- Safe to run where the constraint already exists.
do $$
declare
    unnamed bigint;
begin
    if not exists (select from pg_constraint
                    where conrelid = 'seller_transfers'::regclass
                      and conname = 'chk_reversal_pending_has_next_retry_at') then
        alter table seller_transfers add constraint chk_reversal_pending_has_next_retry_at
            check (status <> 'reversal_pending' or next_retry_at is not null) not valid;
    end if;

    -- Such transfers can never be reversed: a reversal needs Stripe's id of the transfer. The backfill looks for the ids.
    select count(*) into unnamed from seller_transfers
     where status = 'completed' and (stripe_transfer_id is null or stripe_transfer_id = '');
    raise notice '% completed transfers have no Stripe transfer id', unnamed;
end $$;
