"""Attacks on the console by hand-made requests: odd parameters, methods, redirects, and headers."""

import httpx
import pytest

from infrastructure.postgres.fact_reader import FactReader
from infrastructure.service import Service
from tests.infrastructure.web.conftest import Shop
from tests.infrastructure.web.test_console import (
    OPERATOR,
    browsing,
    guarded,
    open_service,
    sign_in,
    visitor,
)

__all__ = ["guarded", "open_service", "visitor"]


@pytest.fixture
def history(service: Service) -> FactReader:
    return FactReader(service.store)


# --- odd parameters -------------------------------------------------------------------------------


ODD = (
    "alarms?kind=%00", "money?currency=a%00b", "search?q=a%00b", "sellers?sort=seller&after=%00",
    "findings?status=%00", "disputes/%00", "disputes/%00/decide", "disputes/none/decide",
    "sellers/%00", "sellers/anna?month=0001-01", "inbox/%00", "findings/%00/adopt",
    "pauses/seller:%00/pause",
)  # fmt: skip


async def test_odd_parameter_is_no_fault_of_the_ledger(visitor: httpx.AsyncClient) -> None:
    given = {address: await visitor.get(f"/console/{address}") for address in ODD}
    faults = {one: answer.text for one, answer in given.items() if answer.status_code >= 500}
    assert not faults


async def test_head_of_an_action_changes_nothing(
    guarded: Service, shop: Shop, history: FactReader
) -> None:
    transfer = (await shop.paid())["ada"]
    head = await history.head()
    async with browsing(guarded) as client:
        await sign_in(client, OPERATOR)
        answer = await client.head(f"/console/transfers/{transfer}/retry")
    assert (answer.status_code, await history.head()) == (200, head)
