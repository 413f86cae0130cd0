-- The number of a migration that is being written elsewhere; numbers have no holes.
select;
