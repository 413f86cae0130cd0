-- What the migration runner remembers of each applied file; it makes this table itself, before the first migration.
CREATE TABLE ledger_migrations (
    version    int PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
