"""The database fixtures: databases of killed runs are dropped, those of running ones are kept."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.conftest import Databases


@pytest.fixture
def other_run(databases: Databases, postgres_server: str) -> Iterator[Databases]:
    """A second run beside this one, with a connection and databases of its own."""
    run = type(databases)(postgres_server)
    yield run
    run.close()


def exists(server: str, url: str) -> bool:
    with psycopg.connect(server) as connection:
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        return (
            connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone()
            is not None
        )


def kill_run_of(url: str, server: str) -> None:
    """End the connection that marks the run as alive, and wait until the server has forgotten
    it."""
    with psycopg.connect(server) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name LIKE '%%/%%' AND starts_with(%s, "
            "split_part(application_name, '/', 1))",
            [psycopg.conninfo.conninfo_to_dict(url)["dbname"]],
        )
        assert ended.fetchall() == [(True,)]


def test_databases_of_living_run_are_kept_and_dead_ones_dropped(
    databases: Databases, other_run: Databases, postgres_server: str
) -> None:
    url = other_run.create(migrated=True)
    databases.prepare()
    assert exists(postgres_server, url)
    kill_run_of(url, postgres_server)
    databases.prepare()
    assert not exists(postgres_server, url)


def test_databases_share_only_migrations(databases: Databases, database_url: str) -> None:
    other = databases.create(migrated=True)
    with psycopg.connect(database_url) as one, psycopg.connect(other) as two:
        one.execute("CREATE TABLE mine ()")
        one.commit()
        assert two.execute(
            "SELECT to_regclass('mine'), to_regclass('ledger_events')"
        ).fetchone() == (None, "ledger_events")
    databases.drop(other)


def test_template_database_is_made_once(
    databases: Databases, other_run: Databases, postgres_server: str
) -> None:
    def templates() -> list[int]:
        with psycopg.connect(postgres_server) as connection:
            rows = connection.execute(
                "SELECT oid FROM pg_database WHERE starts_with(datname, 'ledger_template_') "
                "ORDER BY 1"
            )
            return [oid for (oid,) in rows]

    before = templates()
    other_run.prepare()
    assert templates() == before != []
