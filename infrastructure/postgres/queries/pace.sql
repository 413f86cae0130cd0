-- reserve: the seconds until the first of %(count)s free instants; the row's lock is the queue of those who reserve
with reserved as (
    insert into pace as p (endpoint, next_at)
    values (%(endpoint)s, clock_timestamp() + %(count)s::int * %(interval)s::interval)
    on conflict (endpoint) do update
       -- What was not used is not saved up: a burst after a quiet hour is still a burst.
       -- clock_timestamp, because now() is older than the wait for the row's lock.
       set next_at = greatest(p.next_at, clock_timestamp()) + %(count)s::int * %(interval)s::interval
    returning next_at - %(count)s::int * %(interval)s::interval as first_at
)
select extract(epoch from first_at - clock_timestamp())::float8 from reserved;
