drop table ledger_binding;
drop table pace;
drop table alarms;
drop table webhook_inbox;
