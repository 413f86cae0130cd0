"""A marketplace of any size in an empty database: rows, facts and webhooks made by marketplace.sql.

The facts have no valid hash chain, and only the tables that grow are filled as in life, so the
database serves measurements of reads and nothing else.
"""

from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

INDEXES = """
    select indexname, indexdef from pg_indexes
     where schemaname = current_schema() and not exists (
           select from pg_constraint where conindid = quote_ident(indexname)::regclass)
"""
SCRIPT = Path(__file__).with_name("marketplace.sql")


def fill(database_url: str, transfers: int) -> None:
    """Store this many transfers, and what belongs to them; gather the planner's statistics."""
    with psycopg.connect(database_url) as connection:
        connection.execute("select set_config('bench.transfers', %s, false)", (str(transfers),))
        # Indexes are built after the rows: one by one, each row would change a dozen of them.
        indexes = connection.execute(INDEXES).fetchall()
        for name, _ in indexes:
            connection.execute(SQL("drop index {}").format(Identifier(name)))
        connection.execute(SCRIPT.read_bytes())
        for _, definition in indexes:
            connection.execute(definition.encode())
        connection.commit()
        connection.autocommit = True
        connection.execute("vacuum analyze")
