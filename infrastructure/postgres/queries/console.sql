-- human_acts: facts of these kinds between two positions, newest first
select originator_id, originator_version, topic, state, notification_id as position, digest
  from ledger_events
 where notification_id > %(after)s and notification_id < %(before)s and topic = any(%(topics)s)
 order by notification_id desc
 limit %(limit)s;
