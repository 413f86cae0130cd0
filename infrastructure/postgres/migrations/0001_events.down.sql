drop table ledger_events;
drop function provider_request_id(bytea);
drop function refuse_to_rewrite_history();
