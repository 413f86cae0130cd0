-- A person may close a reversal that was given up: settled outside of Stripe, or written off.
alter table transfer_reversals drop constraint a_reversal_has_a_known_status;
alter table transfer_reversals add constraint a_reversal_has_a_known_status check (
    status in ('queued', 'requested', 'reversed', 'withdrawn', 'failed', 'resolved')) not valid;
alter table transfer_reversals validate constraint a_reversal_has_a_known_status;
