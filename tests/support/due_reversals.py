"""Thousands of sellers' transfers with a reversal due, made in a few appends."""

from itertools import islice
from uuid import UUID

from domain.identity import transfer_stream
from domain.provider_call.request_body import TransferBody
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.transfer_outcome import complete
from infrastructure.simulation.fleet import Fleet
from infrastructure.simulation.virtual_time import now
from tests.support.in_memory.stripe import MemoryStripe
from tests.support.marketplace import CURRENCY, account

AT_ONCE = 500
"""Transfers of one append."""


async def reversals_due(
    fleet: Fleet, stripe: MemoryStripe, count: int, sellers: int = 100
) -> list[UUID]:
    """Make `count` transfers of 900, paid at Stripe, each with a full reversal that is due now;
    return their ids."""
    made = (_owed(stripe, number, f"seller{number % sellers}") for number in range(count))
    ids: list[UUID] = []
    while several := list(islice(made, AT_ONCE)):
        uow = await fleet.ledger.load([])
        uow.add(several)
        await fleet.ledger.append(uow)
        ids += [transfer.id for transfer in several]
    return ids


def _owed(stripe: MemoryStripe, number: int, seller: str) -> SellerTransfer:
    order_id, refund_id = f"o{number}", f"r{number}"
    transfer_id = transfer_stream(order_id, seller)
    metadata = {"transfer_id": str(transfer_id), "order_id": order_id, "seller_id": seller}
    body = TransferBody(
        amount=900,
        currency=CURRENCY.lower(),
        destination=account(seller),
        transfer_group=order_id,
        metadata=metadata,
    )
    transfer = SellerTransfer.create(
        order_id=order_id,
        seller_id=seller,
        destination=account(seller),
        amount=900,
        currency=CURRENCY,
        now=now(),
    )
    complete(transfer, stripe.hold(body), 900, None, now())
    transfer.take_back(refund_id, 900, now())
    return transfer
