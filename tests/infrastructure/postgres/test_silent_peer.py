"""Connections whose peer takes every byte and never answers, as a frozen pooler does."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from infrastructure.postgres import connections
from infrastructure.postgres.connections import fetch_one, new_pool
from tests.infrastructure.postgres.conftest import ConnectionProxy


async def test_statement_without_answer_fails_and_the_next_succeeds(
    proxy: ConnectionProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loop that waited for ever would stop all its work, though the database is well."""
    monkeypatch.setattr(connections, "LONGEST_ANSWER", timedelta(seconds=0.3))
    async with new_pool(proxy.url) as pool:
        assert await fetch_one(pool, b"select 1") == (1,)
        proxy.swallow_requests(True)
        with pytest.raises(psycopg.OperationalError):
            async with asyncio.timeout(5):
                await fetch_one(pool, b"select 1")
        proxy.swallow_requests(False)
        assert await fetch_one(pool, b"select 1") == (1,)
