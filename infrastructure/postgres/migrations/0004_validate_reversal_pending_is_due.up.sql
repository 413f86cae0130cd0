-- The old rows obey too. VALIDATE reads the table without blocking writers, and does nothing where it is valid.
-- If it fails, give each reversal_pending row a due time (`rebuild` does) and migrate again.
alter table seller_transfers validate constraint chk_reversal_pending_has_next_retry_at;
