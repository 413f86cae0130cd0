-- Refused by PostgreSQL, and rightly, once a person has resolved one.
alter table transfer_reversals drop constraint a_reversal_has_a_known_status;
alter table transfer_reversals add constraint a_reversal_has_a_known_status check (
    status in ('queued', 'requested', 'reversed', 'withdrawn', 'failed'));
