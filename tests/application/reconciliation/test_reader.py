"""Reader of a reconciliation: transfers of others that cannot be read are skipped and counted."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from application.gateways import ListedTransfer, Page, UnreadableTransfer
from application.reconciliation.ports import IgnoredFinding, UnlistedTransfer
from application.reconciliation.reader import ReconciliationReader
from domain.errors import StripeSilent
from domain.provider_call.stripe_objects import TransferAtStripe
from infrastructure.simulation.in_memory.database import MemoryDatabase, event_log

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class Books:
    """Stripe with one page, and a ledger whose only transfer was paid by `paid`."""

    def __init__(self, page: Page, paid: str | None = None) -> None:
        self._page, self._paid = page, paid

    async def page(
        self, since: datetime, until: datetime, after: str | None, destination: str | None = None
    ) -> Page:
        return self._page

    async def get_transfer(self, stripe_transfer_id: str) -> TransferAtStripe:
        raise NotImplementedError

    async def paid_by(self, stripe_ids: Sequence[str]) -> Mapping[str, UUID]:
        return {id_: UUID(int=1) for id_ in stripe_ids if id_ == self._paid}

    async def alike(self, groups: Collection[str], destinations: Collection[str]) -> Sequence[UUID]:
        return []

    async def ignored(self, finding_ids: Sequence[str]) -> Mapping[str, IgnoredFinding]:
        return {}

    async def add(self, stripe_ids: Sequence[str]) -> int:
        return len(stripe_ids)

    async def unlisted(
        self, since: datetime, until: datetime
    ) -> AsyncIterator[Sequence[UnlistedTransfer]]:
        for batch in list[Sequence[UnlistedTransfer]]():
            yield batch

    def now(self) -> datetime:
        return NOW

    def observe(self, asked: datetime, database_now: datetime) -> None: ...


def reader(books: Books) -> ReconciliationReader:
    log = event_log(MemoryDatabase(lambda: NOW))
    return ReconciliationReader(books, log, books, books, books, "ledger-1")


async def found(reader: ReconciliationReader) -> list[str]:
    since = NOW - timedelta(days=1)
    return [one.difference.detail async for one in reader.differences(since, NOW)]


ODD = UnreadableTransfer("tr_odd", None, "destination=None")


async def test_unreadable_transfer_of_others_is_skipped_and_counted() -> None:
    under_test = reader(Books(Page([], False, [ODD], "tr_odd")))
    assert await found(under_test) == []
    assert under_test.skipped == 1


async def test_unreadable_transfer_of_ours_ends_the_reconciliation() -> None:
    with pytest.raises(StripeSilent, match="destination=None"):
        await found(reader(Books(Page([], False, [ODD], "tr_odd"), paid="tr_odd")))


async def test_transfer_of_another_ledger_is_unclaimed() -> None:
    """It names an id that could be ours, in the same group, to the same seller."""
    theirs = TransferAtStripe(
        "tr_1", 900, 0, "EUR", "acct_1", str(UUID(int=5)), ledger_id="ledger-2"
    )
    listed = ListedTransfer(theirs, NOW, "o1", "o1")
    assert await found(reader(Books(Page([listed], False, (), "tr_1")))) == [
        "tr_1 has no id of this ledger."
    ]
