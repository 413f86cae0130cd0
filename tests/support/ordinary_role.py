"""An ordinary database role for the tests: it may create databases, and is no superuser.

The owner of a database on a managed PostgreSQL has no more rights than this role.
"""

import hashlib
from urllib.parse import urlsplit

import psycopg
from psycopg.sql import SQL, Identifier, Literal

ROLE = "ledger_test"


def is_superuser(server: str) -> bool:
    with psycopg.connect(server, autocommit=True) as connection:
        return connection.info.parameter_status("is_superuser") == "on"


def as_ordinary_role(server: str) -> str:
    """Return the server's URL with the test role, made if necessary; `server` is a superuser's."""
    password = hashlib.sha256(server.encode()).hexdigest()
    with psycopg.connect(server, autocommit=True) as connection, connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('ledger_test_role', 0))")
        known = connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone()
        if known is None:
            make = SQL("CREATE ROLE {} LOGIN CREATEDB NOSUPERUSER PASSWORD {}")
            connection.execute(make.format(Identifier(ROLE), Literal(password)))
    return as_role(server, f"{ROLE}:{password}")


def as_role(server: str, role: str) -> str:
    """Return the URL with another role; `role` is NAME or NAME:PASSWORD."""
    parts = urlsplit(server)
    return parts._replace(netloc=f"{role}@{parts.netloc.rpartition('@')[2]}").geturl()
