"""Streams to append to a ledger, and imported rows in any state."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import count
from typing import TypedDict, Unpack
from uuid import UUID

from application.ports import EventLog
from domain.fact import Stream, opened
from domain.identity import transfer_stream
from domain.pause import Pause
from domain.seller_transfer.aggregate import TOPIC, SellerTransfer
from domain.seller_transfer.opening_facts import Imported

NOW = datetime(2025, 12, 1, tzinfo=UTC)
_ORDERS = count(1)


class ImportedColumns(TypedDict, total=False):
    """The columns of an imported row that a test may choose besides its status."""

    seller_id: str
    destination: str
    amount: int
    amount_reversed: int
    stripe_transfer_id: str | None
    stripe_reversal_id: str | None
    retry_count: int
    next_retry_at: datetime | None
    reversal_id: str | None
    refund_id: str | None
    created_at: datetime | None
    reversal_amount: int | None


class TransferColumns(TypedDict, total=False):
    """The columns of a stored transfer that a test may choose."""

    amount: int
    currency: str
    status: str
    amount_reversed: int
    stripe_transfer_id: str | None
    stripe_reversal_id: str | None
    retry_count: int
    next_retry_at: datetime | None
    reversal_id: str | None
    refund_id: str | None


def transfer(seller: str = "anna", **columns: Unpack[TransferColumns]) -> SellerTransfer:
    """Return a transfer of 900 in any state, made by one fact; `columns` of its row differ."""
    row: TransferColumns = {
        "amount": 900,
        "currency": "EUR",
        "status": "completed",
        "amount_reversed": 0,
        **columns,
    }
    order_id = f"order-{next(_ORDERS)}"
    fact = Imported(
        originator_id=transfer_stream(order_id, seller),
        originator_version=1,
        originator_topic=TOPIC,
        timestamp=NOW,
        order_id=order_id,
        seller_id=seller,
        destination=f"acct_{seller}",
        transfer_group=order_id,
        evidence="a contract",
        **row,
    )
    return opened(SellerTransfer, fact)


async def stored(ledger: EventLog, *streams: Stream) -> list[UUID]:
    """Append these streams in one commit and return their ids."""
    uow = await ledger.load([])
    uow.add(streams)
    await ledger.append(uow)
    return [stream.id for stream in streams]


async def due(
    ledger: EventLog, at: datetime = NOW, seller: str = "anna", status: str = "pending"
) -> UUID:
    """Store a transfer that is due at this instant."""
    (transfer_id,) = await stored(ledger, transfer(seller, status=status, next_retry_at=at))
    return transfer_id


async def paused(
    ledger: EventLog, scope: str, lost_since: datetime | None = None
) -> Callable[[], Awaitable[None]]:
    """Pause this scope; the answer resumes it."""
    uow, switch = await ledger.load([]), Pause.install(scope, NOW)
    uow.add([switch])
    switch.pause("olga", "a test", NOW, lost_since)
    await ledger.append(uow)

    async def resume() -> None:
        switch.resume("olga", "a test", NOW)
        await ledger.append(uow)

    return resume
