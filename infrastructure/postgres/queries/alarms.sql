-- raise: one row per kind and subject, however often the alarm is raised
insert into alarms (kind, subject, detail, raised_at)
values (%(kind)s, %(subject)s, %(detail)s, now())
on conflict (kind, subject) do update
   set detail = excluded.detail, raised_at = excluded.raised_at, cleared_at = null;

-- clear: the condition is over
update alarms set cleared_at = now() where kind = %s and subject = %s and cleared_at is null;

-- clear_all: every condition of this subject is over
update alarms set cleared_at = now() where subject = %s and cleared_at is null;

-- open: alarms that are not cleared, oldest first
select kind, subject, detail, raised_at, cleared_at from alarms where cleared_at is null
 order by raised_at, kind, subject limit %s;

-- all: the latest alarms, cleared or not, newest first
select kind, subject, detail, raised_at, cleared_at from alarms order by raised_at desc, kind, subject limit %s;
