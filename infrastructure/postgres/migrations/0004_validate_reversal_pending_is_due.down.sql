-- PostgreSQL cannot mark a valid constraint as NOT VALID: drop it, and add it as 0003 did.
alter table seller_transfers drop constraint if exists chk_reversal_pending_has_next_retry_at;
alter table seller_transfers add constraint chk_reversal_pending_has_next_retry_at
    check (status <> 'reversal_pending' or next_retry_at is not null) not valid;
