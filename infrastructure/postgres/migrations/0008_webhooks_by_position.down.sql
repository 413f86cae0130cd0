drop index if exists webhook_inbox_position_idx;
