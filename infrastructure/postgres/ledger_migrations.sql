-- One row for each applied file; the migration runner creates this table itself, before the first migration.
create table ledger_migrations (
    version    int primary key,
    name       text not null,
    sha256     text not null,
    applied_at timestamptz not null default now()
);
