"""One town per test, with a fresh database and a fresh Stripe."""

from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from infrastructure.stripe.simulator import running_simulator
from tests.kills.town import Town


@pytest.fixture
async def town(database_url: str, tmp_path: Path) -> AsyncIterator[Town]:
    async with running_simulator() as (_, control):
        town = Town(database_url, control, control.url, tmp_path / "ledger.log")
        town.database = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
        try:
            yield town
        finally:
            if town.process is not None and town.process.returncode is None:
                await town.kill()
            await town.http.aclose()
            await town.database.close()
