-- A received webhook. The row is the job: no queue beside it can lose it or do it twice.
create table webhook_inbox (
    inbox_id     bigint      generated always as identity primary key,
    provider     text        not null,
    event_id     text        not null,
    event_type   text        not null,
    body         bytea       not null,   -- as signed, byte by byte
    received_at  timestamptz not null,
    status       text        not null default 'stored',
    reason       text,
    subject      text,                   -- the key that a parked event waits for, for example an order id
    attempts     integer     not null default 0,
    due_at       timestamptz,
    leased_by    text,
    leased_until timestamptz,
    handled_at   timestamptz,
    position     bigint,                 -- of the last fact that this event caused

    constraint one_row_per_event unique (provider, event_id),
    constraint an_event_has_a_known_status check (status in ('stored', 'done', 'ignored', 'parked', 'dead')),
    constraint a_stored_event_is_due check (status <> 'stored' or due_at is not null),
    constraint a_parked_event_says_what_it_waits_for check (status <> 'parked' or subject is not null),
    constraint attempts_are_counted_from_zero check (attempts >= 0),
    constraint an_inbox_lease_has_a_holder_and_an_end check ((leased_by is null) = (leased_until is null))
)
with (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05);

create index webhook_inbox_due_idx on webhook_inbox (due_at, inbox_id)
    where status in ('stored', 'parked') and due_at is not null;
create index webhook_inbox_parked_idx on webhook_inbox (subject) where status = 'parked';
create index webhook_inbox_unhandled_idx on webhook_inbox (status, inbox_id) where status in ('stored', 'parked', 'dead');


-- What a person has to look at. One row per thing, however often it is noticed.
create table alarms (
    kind       text        not null,
    subject    text        not null,
    detail     text        not null,
    raised_at  timestamptz not null,
    cleared_at timestamptz,
    primary key (kind, subject)
);
create index alarms_open_idx on alarms (raised_at) where cleared_at is null;


-- The next free instant of each rate-limited endpoint; all processes reserve from the same row.
create table pace (
    endpoint text        primary key,
    next_at  timestamptz not null
)
with (fillfactor = 50);


-- Which world this database belongs to. One row: a start with another key must not mix test money with real money.
create table ledger_binding (
    single   boolean     primary key default true,
    mode     text        not null,
    account  text,
    bound_at timestamptz not null default now(),
    constraint there_is_only_one_binding check (single)
);
