drop table ledger_events;
drop function refuse_to_rewrite_history();
