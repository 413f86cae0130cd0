-- reserve: seconds until the first of %(count)s free instants, and between two of them; the row's lock is the queue
with spacing as materialized (
    select %(interval)s::interval / coalesce(
        (select least(1, share + %(recovery)s * extract(epoch from now() - slowed_at)::float8) from pace
          where endpoint = %(endpoint)s and slowed_at is not null), 1) as apart
), reserved as (
    insert into pace as p (endpoint, next_at, calls, calls_at)
    select %(endpoint)s, clock_timestamp() + %(count)s::int * apart, %(count)s, clock_timestamp() from spacing
    on conflict (endpoint) do update
       -- Unused instants are not saved: a burst after a quiet hour is still a burst.
       -- clock_timestamp, because now() is older than the wait for the row's lock.
       set next_at = greatest(p.next_at, clock_timestamp()) + %(count)s::int * (select apart from spacing),
           -- PostgreSQL refuses an exponential that is too small, hence the bounds.
           calls = %(count)s + p.calls * exp(-least(50, greatest(0,
                       extract(epoch from clock_timestamp() - coalesce(p.calls_at, 'epoch'))::float8 / %(window)s))),
           calls_at = clock_timestamp()
    returning next_at - %(count)s::int * (select apart from spacing) as first_at
)
select extract(epoch from first_at - clock_timestamp())::float8, extract(epoch from apart)::float8 from reserved, spacing;

-- slow_down: reduce the share that the endpoint has recovered; refusals that come close together count once
insert into pace as p (endpoint, next_at, share, slowed_at) values (%(endpoint)s, now(), %(decrease)s, now())
on conflict (endpoint) do update
   set share = greatest(%(floor)s, %(decrease)s * least(1, p.share + %(recovery)s
                                       * coalesce(extract(epoch from now() - p.slowed_at)::float8, 0))),
       slowed_at = now()
 where p.slowed_at is null or p.slowed_at <= now() - %(together)s::interval;
