-- The facts. The columns are those of the eventsourcing library's recorder, so that the library's readers (repository,
-- notification log, subscriptions) work on this table; `digest` is the link of the hash chain. `notification_id`, the
-- position, has neither a default nor a sequence: ledger_append assigns positions without holes, in the order of commits.
create table ledger_events (
    originator_id      uuid   not null,
    originator_version bigint not null constraint streams_start_at_version_1 check (originator_version >= 1),
    topic              text   not null,
    state              bytea  not null,
    notification_id    bigint not null constraint positions_start_at_1 check (notification_id >= 1),
    digest             bytea  not null constraint a_link_is_a_sha256 check (octet_length(digest) = 32),
    primary key (originator_id, originator_version)
);

create unique index ledger_events_notification_id_idx on ledger_events (notification_id);

-- The provider's id of the request behind a fact, for the search. Text inside of strings has its quotes escaped, so it
-- cannot pretend to be this member. The function fails for no state, since a fact must never be refused because of a search.
create function provider_request_id(state bytea) returns text language sql immutable strict parallel safe as $$
    select nullif(split_part(split_part(encode(state, 'escape'), '"request_id":"', 2), '"', 1), '')
$$;
create index ledger_events_request_idx on ledger_events (provider_request_id(state))
    where position('"request_id":"'::bytea in state) > 0;

-- Attempts whose outcome was unknown: few of all facts, so that most transfers are found to have none without a look at their
-- facts. The overview of the open money asks this for each open transfer.
create index ledger_events_in_doubt_idx on ledger_events (originator_id)
    where topic = 'ledger.seller_transfer.attempt_deferred' and position('"open":true'::bytea in state) > 0;

-- History only grows, and only through ledger_append. This is a trigger because privileges do not bind the owner of a
-- table: the trigger also stops a slip in psql and a careless script. An attacker can still disable the trigger; the hash
-- chain exists to detect that.
create function refuse_to_rewrite_history() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' and current_setting('ledger.appending', true) = 'yes' then
        return null;
    end if;
    raise exception '% on ledger_events is refused: facts are only ever added, and only by ledger_append()', tg_op
        using errcode = 'LG003',
              hint = 'Correct a mistake by appending another fact.';
end $$;

create trigger history_only_grows
    before insert or update or delete or truncate on ledger_events
    for each statement execute function refuse_to_rewrite_history();

revoke all on ledger_events from public;
