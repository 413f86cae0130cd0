-- state: the breaker, the paused scopes, and whether we look before we send; one row, always
select b.open, array(select scope from pauses where paused and scope <> %(look_up_first)s),
       -- who does not say since when facts may be missing has to look at everything
       u.updated_at, coalesce(u.lost_since, 'epoch')
  from breaker b left join pauses u on u.scope = %(look_up_first)s and u.paused;

-- open_breaker: no row if it is open already; opened again soon after it was closed, it waits longer between probes
with opened as (
    update breaker
       -- A sub-select of the row itself: whoever waited for the row's lock decides by what it has become.
       set (open, opened_at, probe_interval, probe_at) = (
           select true, now(), next.interval, now() + next.interval
             from (select case when closed_at > now() - (%(soon)s::interval + probe_interval)
                               then least(2 * probe_interval, %(longest)s::interval)
                               else %(first)s::interval end as interval) next)
     where not open
    returning single
)
select pg_notify('ledger_work', '') from opened;

-- take_probe: of all that ask when it is time, one gets a row
update breaker set probe_at = now() + probe_interval where open and probe_at <= now() returning single;

-- until_probe: seconds until the next probe; no row while the breaker is closed
select greatest(0, extract(epoch from probe_at - now()))::float8 from breaker where open;

-- close_breaker: no row if it is closed already
with closed as (
    update breaker set open = false, closed_at = now(), probe_at = null where open returning single
)
select pg_notify('ledger_work', '') from closed;
