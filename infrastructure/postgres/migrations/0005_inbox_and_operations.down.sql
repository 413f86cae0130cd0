drop view open_money;
drop table ledger_binding, breaker, pace, alarms, webhook_polls;
drop function inbox_park(bigint, text, timestamptz, text);
drop table bulk_jobs;
drop table webhook_inbox;
drop table signed_out_sessions, check_runs, found_differences, process_loops, money_samples;
