-- human_acts: facts of these kinds between two positions, newest first
select originator_id, originator_version, topic, state, notification_id as position, digest
  from ledger_events
 where notification_id > %(after)s and notification_id < %(before)s and topic = any(%(topics)s)
 order by notification_id desc
 limit %(limit)s;

-- sign_out: refuse a session of the console until it would have ended, and forget those that have ended
with ended as (delete from signed_out_sessions where ends_at < %(now)s)
insert into signed_out_sessions (digest, ends_at) values (%(digest)s, %(ends_at)s)
on conflict (digest) do nothing;

-- is_signed_out: whether a session of the console was signed out
select 1 from signed_out_sessions where digest = %(digest)s;
