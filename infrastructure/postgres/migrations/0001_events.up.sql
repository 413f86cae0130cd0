-- The facts. The columns are those of the eventsourcing library's recorder, so that its readers (repository,
-- notification log, subscriptions) work on this table, plus the link of the hash chain. The position has no default
-- and no sequence on purpose: ledger_append gives positions without holes, in the order of commits.
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

-- History only grows, and only through one door. A trigger, because privileges do not bind the table's owner:
-- a slip in psql or a careless script runs into it too. Whoever wants to falsify history can still switch the
-- trigger off; that is what the hash chain is for.
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
