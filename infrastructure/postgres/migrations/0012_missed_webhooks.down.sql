drop function if exists inbox_park(bigint, text, timestamptz, text);
drop index if exists webhook_inbox_missed_idx;
alter table webhook_inbox drop constraint if exists an_event_has_a_known_source;
alter table webhook_inbox drop column if exists source, drop column if exists seen_position;
drop table if exists webhook_polls;
