"""Where a look for an imported transfer begins, and whose transfers it leaves out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from application.process_managers.transfers import Found, TransferProcess
from domain.fact import opened
from domain.provider_call.operation import TRANSFER
from domain.provider_call.request_body import TransferBody
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp
from domain.seller_transfer.aggregate import SellerTransfer
from tests.support.in_memory.database import MemoryDatabase, MemoryDirectory
from tests.support.in_memory.stripe import LightStripe
from tests.support.service import account, imported

MADE = datetime(2026, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Books:
    """Stripe's, at any time, and an empty database beside them."""

    def __init__(self) -> None:
        self.now = MADE
        self.stripe = LightStripe(clock=lambda: self.now)
        directory = MemoryDirectory(MemoryDatabase(lambda: self.now))
        self.errand = TransferProcess(self.stripe, directory, Policy())

    def held(self, at: datetime, **changes: Any) -> str:
        self.now = at
        body: Any = {"amount": 900, "currency": "eur", "destination": account("anna"), "transfer_group": "x", "metadata": {}}
        return self.stripe.hold(TransferBody(**body | changes))

    async def alike(self, transfer: SellerTransfer) -> list[str]:
        settlement = await self.errand.look_up(transfer, LookUp(TRANSFER, transfer.begun_at))
        assert isinstance(settlement, Found)
        return [seen.stripe_transfer_id for seen in settlement.alike]


@pytest.fixture
def books() -> Books:
    return Books()


async def test_imported_transfer_is_searched_from_a_day_before(books: Books) -> None:
    books.held(MADE - 25 * HOUR)
    since = [books.held(MADE - 23 * HOUR), books.held(MADE + 90 * 24 * HOUR)]
    transfer = opened(SellerTransfer, imported("old", status="pending", created_at=MADE))
    assert await books.alike(transfer) == since


@pytest.mark.parametrize("other", [{"amount": 901}, {"currency": "usd"}, {"destination": "acct_other"}], ids=str)
async def test_differing_transfer_is_not_similar(books: Books, other: dict[str, Any]) -> None:
    books.held(MADE, **other)
    assert await books.alike(opened(SellerTransfer, imported("old", status="pending", created_at=MADE))) == []


async def test_our_transfer_is_found_only_by_its_name(books: Books) -> None:
    books.held(MADE)
    own = SellerTransfer.create(
        order_id="o1", seller_id="anna", destination=account("anna"), amount=900, currency="EUR", now=MADE - HOUR
    )
    assert await books.alike(own) == []
