"""Fixture of the storage contracts, which run against PostgreSQL and against the storage in
memory."""

from collections.abc import AsyncIterator

import pytest

from tests.support.storage import Storage, in_memory, on_postgres


@pytest.fixture(params=["memory", "postgres"])
async def storage(request: pytest.FixtureRequest) -> AsyncIterator[Storage]:
    """Open an empty database."""
    opened = (
        in_memory()
        if request.param == "memory"
        else on_postgres(request.getfixturevalue("database_url"))
    )
    async with opened as storage:
        yield storage
