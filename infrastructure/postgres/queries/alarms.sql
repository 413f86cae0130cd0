-- raise: one row per kind and subject, however often the alarm is raised; an open alarm keeps its beginning
-- A process may have been frozen since it read a webhook: an alarm about one that is closed would stay for ever. The lock
-- makes the commit that closes the webhook, and clears its alarms, come either before or after.
with about as materialized (
    select status from webhook_inbox
     where provider = split_part(%(subject)s, ':', 1)
       and event_id = substr(%(subject)s, strpos(%(subject)s, ':') + 1)
       for share)
insert into alarms as a (kind, subject, detail, raised_at, last_seen_at, times)
select %(kind)s, %(subject)s, %(detail)s, now(), now(), 1
 where not exists (select from about where status in ('done', 'ignored', 'discarded'))
on conflict (kind, subject) do update
   set detail = excluded.detail,
       raised_at = case when a.cleared_at is null then a.raised_at else excluded.raised_at end,
       last_seen_at = case when a.cleared_at is null then greatest(a.last_seen_at, excluded.last_seen_at)
                           else excluded.last_seen_at end,
       times = case when a.cleared_at is null then a.times + 1 else 1 end,
       cleared_at = null;

-- clear: the condition is over
update alarms set cleared_at = now() where kind = %s and subject = %s and cleared_at is null;

-- clear_all: every condition of this subject is over
update alarms set cleared_at = now() where subject = %s and cleared_at is null;

-- open: alarms that are not cleared, oldest first
select kind, subject, detail, raised_at, last_seen_at, times, cleared_at from alarms where cleared_at is null
 order by raised_at, kind, subject limit %s;

-- one: one alarm, cleared or not
select kind, subject, detail, raised_at, last_seen_at, times, cleared_at from alarms where kind = %s and subject = %s;

-- all: the latest alarms, cleared or not, newest first
select kind, subject, detail, raised_at, last_seen_at, times, cleared_at from alarms order by last_seen_at desc, kind, subject limit %s;
