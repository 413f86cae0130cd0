"""Search at Stripe for an imported transfer: its start, and the transfers that it leaves out."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest

from application.ports import FleetState
from application.process_managers.reversals import ReversalProcess
from application.process_managers.transfers import TransferProcess, TransfersFound
from application.unit_of_work import UnitOfWork
from domain.fact import opened
from domain.provider_call.operation import TRANSFER
from domain.provider_call.request_body import TransferBody
from domain.provider_call.retry_policy import Policy
from domain.provider_call.steps import LookUp, Rest, Send
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.stripe_call import begin
from domain.seller_transfer.transfer_outcome import complete
from infrastructure.simulation.in_memory.database import MemoryDatabase
from infrastructure.simulation.in_memory.directory import MemoryDirectory
from tests.support.in_memory.stripe import MemoryStripe
from tests.support.service import account, imported

MADE = datetime(2026, 1, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class SimilarTransfers:
    """Transfers at Stripe, made at any time, and an empty ledger."""

    def __init__(self) -> None:
        self.now = MADE
        self.stripe = MemoryStripe(clock=lambda: self.now)
        directory = MemoryDirectory(MemoryDatabase(lambda: self.now))
        self.manager = TransferProcess(self.stripe, directory, Policy())

    def held(self, at: datetime, other: Mapping[str, str | int] = MappingProxyType({})) -> str:
        self.now = at
        body = TransferBody(
            amount=900, currency="eur", destination=account("anna"), transfer_group="x", metadata={}
        )
        return self.stripe.hold(TransferBody(**{**body, **other}))  # type: ignore[typeddict-item]  # one member differs

    async def alike(self, transfer: SellerTransfer) -> list[str]:
        uow = UnitOfWork({transfer.id: transfer}, {})
        answer = await self.manager.look_up(uow, transfer.id, LookUp(TRANSFER, transfer.begun_at))
        assert isinstance(answer, TransfersFound)
        return [seen.stripe_transfer_id for seen in answer.similar]


@pytest.fixture
def books() -> SimilarTransfers:
    return SimilarTransfers()


async def test_imported_transfer_is_searched_from_a_day_before(books: SimilarTransfers) -> None:
    books.held(MADE - 25 * HOUR)
    since = [books.held(MADE - 23 * HOUR), books.held(MADE + 90 * 24 * HOUR)]
    transfer = opened(SellerTransfer, imported("old", status="pending", created_at=MADE))
    assert await books.alike(transfer) == since


@pytest.mark.parametrize(
    "other", [{"amount": 901}, {"currency": "usd"}, {"destination": "acct_other"}], ids=str
)
async def test_differing_transfer_is_not_similar(
    books: SimilarTransfers, other: Mapping[str, str | int]
) -> None:
    books.held(MADE, other)
    assert (
        await books.alike(
            opened(SellerTransfer, imported("old", status="pending", created_at=MADE))
        )
        == []
    )


def _sale() -> SellerTransfer:
    return SellerTransfer.create(
        order_id="o1",
        seller_id="anna",
        destination=account("anna"),
        amount=900,
        currency="EUR",
        now=MADE - HOUR,
    )


def test_transfer_of_another_ledger_is_foreign_and_older_ones_are_not() -> None:
    """It may carry the same id, since both ids follow from the same order and seller."""
    seen = TransferAtStripe("tr_1", 900, 0, "EUR", account("anna"), "an id")
    assert not seen.is_foreign("ledger-1")
    assert not seen._replace(ledger_id="ledger-1").is_foreign("ledger-1")
    assert seen._replace(ledger_id="ledger-2").is_foreign("ledger-1")


async def test_our_transfer_is_found_only_by_its_name(books: SimilarTransfers) -> None:
    books.held(MADE)
    assert await books.alike(_sale()) == []


async def test_claim_of_another_kind_of_work_begins_no_call() -> None:
    """The row was claimed to be paid; meanwhile it was paid, and refunded."""
    now = MADE
    stripe = MemoryStripe(clock=lambda: now)
    directory = MemoryDirectory(MemoryDatabase(lambda: now))
    paying = TransferProcess(stripe, directory, Policy())
    reversing = ReversalProcess(stripe, Policy())
    transfer = _sale()
    uow = UnitOfWork({transfer.id: transfer}, {})
    assert isinstance(reversing.next_step(uow, transfer.id, now, FleetState()), Rest)
    complete(transfer, "tr_1", 900, None, now)
    transfer.take_back("r1", 450, now)
    version = transfer.version
    assert isinstance(paying.next_step(uow, transfer.id, now, FleetState()), Rest)
    assert transfer.version == version
    step = reversing.next_step(uow, transfer.id, now, FleetState())
    assert isinstance(step, Send)
    assert step.attempt == 1


def test_transfer_sent_under_a_key_of_a_lost_ledger_id_stays_ours(books: SimilarTransfers) -> None:
    """A restore without the table of the binding gives the database another identity."""
    own = SellerTransfer.create(
        order_id="o1",
        seller_id="anna",
        destination=account("anna"),
        amount=900,
        currency="EUR",
        now=MADE,
    )
    seen = TransferAtStripe("tr_1", 900, 0, "EUR", account("anna"), str(own.id))
    theirs = seen._replace(ledger_id="ledger-1")
    manager = replace(books.manager, ledger_id="ledger-2")
    assert manager._foreign(own, theirs)
    begin(own, MADE, Policy(), ledger_id="ledger-1")
    assert not manager._foreign(own, theirs)
    assert not manager._foreign(own, seen)
