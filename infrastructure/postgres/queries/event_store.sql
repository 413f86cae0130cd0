-- append: the only way into ledger_events; one statement per group, so no writer can hold the lock between two messages
select ledger_append(%s, %s);

-- await_writers: returns once no append is running, in particular none that a lost connection has left behind
select pg_advisory_xact_lock(x'6c6564676572'::bigint);

-- recall: how many of these facts are stored, byte by byte, and the position of the last one
select count(*), max(e.notification_id)
  from json_to_recordset(%s) as f (id uuid, version bigint, topic text, state json)
  join ledger_events e on e.originator_id = f.id and e.originator_version = f.version
 where e.topic = f.topic and e.state = convert_to(f.state::text, 'UTF8');

-- load: streams, each from a version on, in the order of its versions
select e.originator_id, e.originator_version, e.topic, e.state, e.notification_id as position, e.digest
  from unnest(%s::uuid[], %s::bigint[]) as given (stream, since)
  join ledger_events e on e.originator_id = given.stream and e.originator_version >= given.since
 order by e.originator_id, e.originator_version;

-- feed: all facts after a position, in order
select originator_id, originator_version, topic, state, notification_id as position, digest
  from ledger_events
 where notification_id > %s
 order by notification_id
 limit %s;

-- head: the position of the newest fact
select coalesce(max(notification_id), 0) from ledger_events;
