-- owner, in the ledger's database
revoke connect, temporary on database ledger from public;
grant connect, temporary on database ledger to ledger_app, ledger_read;
grant usage on schema public to ledger_app, ledger_read;
grant select on all tables in schema public to ledger_app, ledger_read;
grant select on all sequences in schema public to ledger_read;
alter default privileges in schema public grant select on tables to ledger_app, ledger_read;
alter default privileges in schema public grant select on sequences to ledger_read;

-- Facts and read models are written by the function alone, with the owner's rights.
grant execute on function ledger_append(json, json), inbox_park(bigint, text, timestamptz, text) to ledger_app;
grant update (leased_by, leased_until) on seller_transfers, refunds, orders to ledger_app;
grant insert, update on webhook_inbox, webhook_polls, alarms, pace, ledger_binding, bulk_jobs to ledger_app;
grant update on breaker to ledger_app;
grant insert, update, delete on check_runs, found_differences, process_loops, money_samples to ledger_app;
grant insert, delete on signed_out_sessions to ledger_app;
