-- streams: facts up to a position, stream by stream, after a given fact; read in parts, so that memory stays flat
select originator_id, originator_version, topic, state, notification_id
  from ledger_events
 where (originator_id, originator_version) > (%(stream)s, %(version)s) and notification_id <= %(position)s
 order by originator_id, originator_version
 limit %(limit)s;

-- moved: all facts of those of these streams that have new facts since a position
select originator_id, originator_version, topic, state, notification_id
  from ledger_events
 where originator_id in (select originator_id from ledger_events
                          where originator_id = any(%(streams)s) and notification_id > %(position)s)
 order by originator_id, originator_version;

-- link_at: the link of the hash chain at a position
select digest from ledger_events where notification_id = %s;

-- last_link: the head of the chain
select notification_id, digest from ledger_events order by notification_id desc limit 1;

-- in_order: facts between two positions, in the order of the chain; read in parts
select originator_id, originator_version, topic, state, notification_id as position, digest
  from ledger_events
 where notification_id > %(after)s and notification_id <= %(position)s
 order by notification_id
 limit %(limit)s;
