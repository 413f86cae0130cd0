"""PostgreSQL databases for tests: `database_url` (migrated) and `empty_database_url`, fresh for
each test.

The server is that of DATABASE_URL if it is set (its own database is only used to create others),
else an embedded server that all workers and runs of this checkout share. All databases belong to an
ordinary role, never to a superuser: the product needs none. The server is fast because it may
lose commits: a test that crashes the server and looks for acknowledged commits starts an
EmbeddedPostgres of its own.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import hypothesis
import psycopg
import pytest
from psycopg import sql
from psycopg.rows import TupleRow

from infrastructure.postgres import migrate, migration_files
from infrastructure.postgres.embedded.client import EmbeddedPostgres
from tests.support.ordinary_role import as_ordinary_role, is_superuser

EMBEDDED = Path(__file__).parent.parent / ".data" / "test-pg"
FORGETFUL = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
}
SERVER = "LEDGER_TEST_SERVER"

# a run's databases are named after the run; a run is alive while a connection carries its name, on
# whatever host
DEAD_RUNS = r"""
    SELECT d.datname FROM pg_database d
     WHERE d.datname LIKE 'ledger\_test\_%' AND pg_has_role(d.datdba, 'usage')
       AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name LIKE 'ledger\_test\_%'
                          AND starts_with(d.datname, split_part(a.application_name, '/', 1)))
"""
UNUSED_TEMPLATES = r"""
    SELECT d.datname FROM pg_database d
     WHERE d.datname LIKE 'ledger\_template\_%' AND pg_has_role(d.datdba, 'usage')
       AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.application_name LIKE 'ledger\_test\_%'
                          AND d.datname = split_part(a.application_name, '/', 2))
"""

SCHEMA = """
    SELECT (SELECT sum(hashtext(concat(oid, ' ', xmin))::bigint) FROM pg_class WHERE relnamespace = n),
           (SELECT sum(hashtext(concat(attrelid, attname, ' ', a.xmin))::bigint)
              FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = n),
           (SELECT sum(hashtext(concat(oid, ' ', xmin))::bigint) FROM pg_constraint WHERE connamespace = n),
           (SELECT sum(hashtext(concat(oid, ' ', xmin))::bigint) FROM pg_proc WHERE pronamespace = n),
           (SELECT sum(hashtext(concat(oid, ' ', xmin))::bigint) FROM pg_trigger),
           (SELECT count(*) FROM pg_namespace), (SELECT count(*) FROM pg_event_trigger),
           (SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase
             WHERE datname = current_database())
      FROM (SELECT 'public'::regnamespace::oid AS n) AS namespace
"""
"""Changes with every change of the schema."""
EMPTYING = """
    SELECT string_agg(CASE relkind WHEN 'r' THEN format('DELETE FROM %s;', oid::regclass)
                                   ELSE format('SELECT setval(%L, 1, false);', oid::regclass) END, ' ')
      FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
"""
INITIAL = """
    SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'
"""
REUSED = ("e2e", "contracts", "scripts", "web")
"""Folders whose tests change rows only, so that a database serves one test after the other. Creating
and dropping one costs 0.4 s, emptying one a few milliseconds."""

# two busy cores are no reason to fail, so there is no deadline
hypothesis.settings.register_profile("ledger", deadline=None, derandomize=True)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=5_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ledger"))


def pytest_configure() -> None:
    """Remove settings from the environment, so that no test reaches a real account or a developer's
    own database."""
    if url := os.environ.pop("DATABASE_URL", None):
        os.environ[SERVER] = url  # the workers of a parallel run inherit it
    for name in [name for name in os.environ if name.startswith(("STRIPE_", "HYPERSWITCH_"))]:
        del os.environ[name]


class Databases:
    """Creates the databases of this run and drops those of dead runs."""

    def __init__(self, server: str, superuser: str | None = None) -> None:
        """Use `superuser`, the server's URL of such a role, to empty and to drop databases: an ordinary
        role can neither switch all triggers off, nor end the sessions of a superuser."""
        self._server, self._superuser = server, superuser
        self._run = f"ledger_test_{secrets.token_hex(4)}"
        owner = urlsplit(server).username or ""  # only the owner of a template may copy it
        fingerprint = _fingerprint(migration_files.read_migrations(), owner)
        self._template = f"ledger_template_{fingerprint}"
        name = f"{self._run}/{self._template}"
        self._admin = psycopg.connect(server, autocommit=True, application_name=name)
        self._dropper = psycopg.connect(superuser or server, autocommit=True)
        self._made = 0
        self._spare: list[str] = []

    def lend(self) -> str:
        """Return an empty database at the newest migration, perhaps one that another test has used."""
        return self._spare.pop() if self._spare else self.create(migrated=True)

    def take_back(self, url: str) -> None:
        """Keep a database for the next test; drop it if the test has changed its schema."""
        if self._emptied(url):
            self._spare.append(url)
        else:
            self.drop(url)

    def _emptied(self, url: str) -> bool:
        if self._superuser is None:
            return False  # each test gets a new database
        name = urlsplit(url).path.removeprefix("/")
        end = (
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = %s AND pid <> pg_backend_pid()"
        )
        superuser = _with_database(self._superuser, name)
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute(end, [name]).fetchall()
            if connection.execute(SCHEMA).fetchone() != self._schema:
                return False
            connection.execute("SET session_replication_role = replica")  # no trigger interferes
            connection.execute(self._emptying.encode())
        return True

    @cached_property
    def _schema(self) -> TupleRow | None:
        return self._of_template[0]

    @cached_property
    def _emptying(self) -> str:
        return self._of_template[1]

    @cached_property
    def _of_template(self) -> tuple[TupleRow | None, str]:
        """Return the schema's fingerprint, and the statements that bring back a fresh database's rows."""
        url = self.create(migrated=True)
        with psycopg.connect(url, autocommit=True) as connection:
            schema = connection.execute(SCHEMA).fetchone()
            emptying = str((connection.execute(EMPTYING).fetchone() or ("",))[0])
            for (table,) in connection.execute(INITIAL).fetchall():
                rows = connection.execute(
                    f"SELECT json_agg(t)::text FROM {table} t".encode()
                ).fetchone()
                if rows is not None and rows[0] is not None:
                    literal = sql.Literal(rows[0]).as_string(connection)
                    emptying += f" INSERT INTO {table} SELECT * FROM json_populate_recordset(null::{table}, {literal});"
        self.drop(url)
        return schema, emptying

    def close(self) -> None:
        for url in self._spare:
            self.drop(url)
        self._dropper.close()
        self._admin.close()

    def prepare(self) -> None:
        """Drop unused databases and make the template, under one lock: no template is made twice or
        dropped before its use."""
        self._admin.execute("SELECT pg_advisory_lock(hashtextextended('ledger_template', 0))")
        for query in (DEAD_RUNS, UNUSED_TEMPLATES):
            for (name,) in self._admin.execute(query).fetchall():
                self._drop(name)
        if (
            self._admin.execute(
                "SELECT 1 FROM pg_database WHERE datname = %s", [self._template]
            ).fetchone()
            is None
        ):
            self._make_template()
        self._admin.execute("SELECT pg_advisory_unlock(hashtextextended('ledger_template', 0))")

    def create(self, *, migrated: bool) -> str:
        self._made += 1
        name = f"{self._run}_{self._made}"
        self._create(name, self._template if migrated else "template0")
        return _with_database(self._server, name)

    def drop(self, url: str) -> None:
        self._drop(urlsplit(url).path.removeprefix("/"))

    def _make_template(self) -> None:
        """Make the template and rename it when it is complete: a killed run leaves no incomplete
        template under the final name."""
        unfinished = f"{self._run}_template"
        self._create(unfinished, "template0")
        migrate.up(_with_database(self._server, unfinished))
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        self._admin.execute(
            rename.format(sql.Identifier(unfinished), sql.Identifier(self._template))
        )

    def _create(self, name: str, template: str) -> None:
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} ENCODING 'UTF8'")
        self._admin.execute(create.format(sql.Identifier(name), sql.Identifier(template)))

    def _drop(self, name: str) -> None:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        deadline = time.monotonic() + 20
        while True:
            try:
                self._dropper.execute(drop)
                return
            except psycopg.errors.InsufficientPrivilege:  # an autovacuum worker, soon at its end,
                if time.monotonic() > deadline:  # which no ordinary role may terminate
                    raise
                time.sleep(0.2)


def _fingerprint(migrations: list[migration_files.Migration], owner: str) -> str:
    return hashlib.sha256(
        "".join([owner, *(f"{m.label} {m.sha256}\n" for m in migrations)]).encode()
    ).hexdigest()[:12]


def _with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/{name}" + (f"?{parts.query}" if parts.query else "")


@pytest.fixture(scope="session")
def given_server() -> Iterator[str]:
    """The server's URL as it was given; the embedded server's is a superuser's."""
    if given := os.environ.get(SERVER):
        yield given
        return
    embedded = EmbeddedPostgres(EMBEDDED, max_connections="200", **FORGETFUL)
    yield embedded.acquire()
    embedded.release()


@pytest.fixture(scope="session")
def superuser_server(given_server: str) -> str | None:
    """Return the URL of a superuser, for the few acts that need one; None on a server without."""
    return given_server if is_superuser(given_server) else None


@pytest.fixture(scope="session")
def postgres_server(given_server: str, superuser_server: str | None) -> str:
    """Return the URL of an ordinary role that may create databases."""
    return given_server if superuser_server is None else as_ordinary_role(superuser_server)


@pytest.fixture(scope="session")
def databases(postgres_server: str, superuser_server: str | None) -> Iterator[Databases]:
    with closing(
        Databases(postgres_server, superuser_server)
    ) as databases:  # closed at once on failure: it holds a lock others wait for
        databases.prepare()
        yield databases


@pytest.fixture
def database_url(databases: Databases, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database at the newest migration, for one test at a time."""
    if not set(REUSED) & set(request.path.parts):
        url = databases.create(migrated=True)
        yield url
        databases.drop(url)
        return
    url = databases.lend()
    yield url
    databases.take_back(url)


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """Create a fresh database that was never migrated."""
    url = databases.create(migrated=False)
    yield url
    databases.drop(url)
