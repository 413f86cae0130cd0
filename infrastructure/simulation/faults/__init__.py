"""Random schedules of faults: the real ledger in virtual time, in a world that tries to break
it."""
