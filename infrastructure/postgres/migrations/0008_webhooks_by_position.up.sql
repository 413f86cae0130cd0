-- From a fact to the webhook that caused it: the audit trail asks by position.
create index webhook_inbox_position_idx on webhook_inbox (position) where position is not null;
