"""A simulated week of a marketplace: the real ledger in virtual time, on simulated providers in
live manners."""
