-- Old rows must obey too. VALIDATE reads the table without blocking writers, and does nothing where the constraint is valid.
-- If this fails, give each reversal_pending row a due time (`transfer-ledger rebuild` does) and migrate again.
alter table seller_transfers validate constraint chk_reversal_pending_has_next_retry_at;
