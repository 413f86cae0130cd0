-- put: store a group of received events; the answer leaves out those that are stored already
with given as (
    select * from json_to_recordset(%s) as g (
        provider text, event_id text, event_type text, body text, received_at timestamptz, source text)
), stored as (
    insert into webhook_inbox (provider, event_id, event_type, body, received_at, source, due_at)
    select provider, event_id, event_type, decode(body, 'base64'), received_at, source, now()
      from given
     -- The same order in every process: two that receive the same events must not deadlock.
     order by provider, event_id
    on conflict (provider, event_id) do nothing
    returning provider, event_id
)
select provider, event_id, pg_notify('webhook_inbox', '') from stored;

-- claim: lease events that are due and free, new ones first; the answer has `now` even without an event
with fresh as materialized (
    select inbox_id from webhook_inbox
     where status = 'stored' and due_at between %(since)s::timestamptz and now()
       and (leased_until is null or leased_until <= now())
     order by due_at, inbox_id
     limit %(limit)s - %(limit)s / 8
       for update skip locked
), parked as materialized (
    select inbox_id from webhook_inbox
     where status = 'parked' and due_at between %(since)s::timestamptz and now()
       and (leased_until is null or leased_until <= now())
     order by due_at, inbox_id
     -- an eighth of each claim is theirs, so that they are handled under any load
     limit %(limit)s - (select count(*) from fresh)
       for update skip locked
), due as (
    select inbox_id from fresh union all select inbox_id from parked
), claimed as (
    update webhook_inbox i set leased_by = %(holder)s, leased_until = now() + %(lease)s,
                               seen_position = (select coalesce(max(notification_id), 0) from ledger_events)
      from due
     where i.inbox_id = due.inbox_id
    returning i.inbox_id, i.provider, i.event_id, i.event_type, i.body, i.received_at, i.status, i.subject, i.attempts,
              i.due_at
)
-- `earliest`, leased events included: the next claim may search from here on.
select now(), earliest.due_at, c.inbox_id, c.provider, c.event_id, c.event_type, c.body, c.received_at, c.status, c.subject, c.attempts
  from (select least(
           (select due_at from webhook_inbox where status = 'stored' and due_at >= %(since)s::timestamptz order by due_at limit 1),
           (select due_at from webhook_inbox where status = 'parked' and due_at >= %(since)s::timestamptz order by due_at limit 1)
       ) as due_at) as earliest left join claimed c on true
 order by c.status desc, c.due_at, c.inbox_id;

-- next_due: the earliest instant at which an event may be claimed
with free as (
    select min(due_at) as at from (
        (select due_at from webhook_inbox
          where status = 'stored' and due_at >= %(since)s::timestamptz and (leased_until is null or leased_until <= now())
          order by due_at limit 1)
        union all
        (select due_at from webhook_inbox
          where status = 'parked' and due_at >= %(since)s::timestamptz and (leased_until is null or leased_until <= now())
          order by due_at limit 1)) as earliest
)
-- Every event that is due before the first free one is leased, so this reads few rows.
select least(free.at, (select min(greatest(due_at, leased_until)) from webhook_inbox
                        where status in ('stored', 'parked') and due_at >= %(since)s::timestamptz
                          and due_at < coalesce(free.at, 'infinity')))
  from free;

-- park: an event waits for its subject; it is claimed again when due, or once the subject comes or has come already;
-- false if it was closed meanwhile
select inbox_park(%(inbox_id)s, %(subject)s, %(due_at)s, %(reason)s);

-- close: the event is handled for good
update webhook_inbox
   set status = %(status)s, reason = %(reason)s, due_at = null, handled_at = now(),
       leased_by = null, leased_until = null
 where inbox_id = %(inbox_id)s and status in ('stored', 'parked');

-- ignore: close events that do not concern this ledger, each with its reason
update webhook_inbox i
   set status = 'ignored', reason = given.reason, due_at = null, handled_at = now(), leased_by = null, leased_until = null
  from unnest(%(ids)s::bigint[], %(reasons)s::text[]) as given (inbox_id, reason)
 where i.inbox_id = given.inbox_id and i.status in ('stored', 'parked');

-- retry_later: handle the event again at another time
update webhook_inbox
   set due_at = %(due_at)s, reason = %(reason)s, attempts = attempts + %(counted)s::int,
       leased_by = null, leased_until = null
 where inbox_id = %(inbox_id)s and status in ('stored', 'parked');

-- replay: a person has an event handled again, from the start
with replayed as (
    update webhook_inbox
       set status = 'stored', due_at = now(), attempts = 0, handled_at = null, leased_by = null, leased_until = null
     where inbox_id = %s and body <> '' and (leased_until is null or leased_until <= now())
    returning inbox_id, provider, event_id
), alive as (
    update alarms a set cleared_at = now() from replayed r
     where a.kind = 'webhook_dead' and a.subject = r.provider || ':' || r.event_id and a.cleared_at is null
)
select count(*), (select pg_notify('webhook_inbox', '') where exists (select from replayed)) from replayed;

-- redact: empty the bodies of closed events, a batch at a time; the rows stay, so that a repeated event is a duplicate
with old as (
    select inbox_id from webhook_inbox
     where status in ('done', 'ignored', 'discarded') and body <> '' and handled_at < now() - %(retention)s::interval
     order by handled_at
     limit %(limit)s
       for update skip locked
)
update webhook_inbox i set body = '' from old where i.inbox_id = old.inbox_id;

-- erase: empty the body of one closed event now
update webhook_inbox set body = '' where inbox_id = %s and status in ('done', 'ignored', 'discarded');

-- one: one event, without its body
select inbox_id, provider, event_id, event_type, received_at, status, reason, subject, attempts, due_at, handled_at,
       position, source
  from webhook_inbox
 where inbox_id = %s;

-- newest: events of one status or of all, newest first
select inbox_id, provider, event_id, event_type, received_at, status, reason, subject, attempts, due_at, handled_at,
       position, source
  from webhook_inbox
 where %(status)s::text is null or status = %(status)s
 order by inbox_id desc
 limit %(limit)s;

-- body: the body as it was received, byte by byte
select body from webhook_inbox where inbox_id = %s;

-- counts: how many events are not handled, by status
select status, count(*) from webhook_inbox
 where status in ('stored', 'parked', 'dead') and inbox_id > 0  -- always true; see webhook_inbox_unhandled_idx
 group by status;

-- unknown: those of these events that are not in the inbox
select event_id from unnest(%(ids)s::text[]) as given (event_id)
 where not exists (select from webhook_inbox i where i.provider = %(provider)s and i.event_id = given.event_id);

-- waiting: those of these pairs of event type and object name with an event that is not handled; the name is searched as JSON text
select given.n
  from unnest(%(types)s::text[], %(names)s::text[]) with ordinality as given (event_type, name, n)
 where exists (select from webhook_inbox i
                where i.status in ('stored', 'parked', 'dead') and i.inbox_id > 0 and i.provider = %(provider)s
                  and i.event_type = given.event_type
                  and position(convert_to('"' || given.name || '"', 'UTF8') in i.body) > 0);

-- missed: how many events the poller found, and how many of them are handled
select provider, count(*), count(*) filter (where status in ('done', 'ignored', 'discarded'))
  from webhook_inbox where source = 'poller' group by provider;
