"""The facts and rows of a seeded ledger, pinned by a digest: a refactoring changes none of their
bytes."""

import hashlib

import psycopg

from tests.support.seeded_ledger import load_ledger

TABLES = (
    "ledger_events",
    "seller_transfers",
    "transfer_reversals",
    "orders",
    "refunds",
    "disputes",
    "payouts",
    "pauses",
    "findings",
)
EXPECTED = "99a537f74f72d988c87958df16478d63e843f8175b721129c68655833b36e47d"


def test_seeded_ledger_has_the_pinned_digest(database_url: str) -> None:
    load_ledger(database_url, 2_000)
    digest = hashlib.sha256()
    with psycopg.connect(database_url) as connection:
        connection.execute("SET timezone = 'UTC'")
        for table in TABLES:
            lines = connection.execute(
                f"SELECT to_jsonb(t)::text FROM {table} t ORDER BY 1"
            ).fetchall()
            digest.update("\n".join([table, *(line for (line,) in lines)]).encode())
    assert digest.hexdigest() == EXPECTED
