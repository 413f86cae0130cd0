"""Thousands of sellers' transfers whose money is wanted back, made at once: by the facts of an older system."""

from itertools import islice
from uuid import UUID

from domain.bodies import TransferBody
from domain.fact import opened
from domain.identity import reversal_name, transfer_stream
from domain.lifecycle import TransferStatus
from domain.seller_transfer import TOPIC, SellerTransfer
from domain.transfer_facts import Imported
from tests.simulation.fleet import Fleet
from tests.simulation.light_stripe import LightStripe
from tests.simulation.market import CURRENCY, account
from tests.simulation.virtual_time import now

AT_ONCE = 500
"""Transfers of one append."""


async def reversals_due(fleet: Fleet, stripe: LightStripe, count: int, sellers: int = 100) -> list[UUID]:
    """So many transfers of 900, paid at Stripe, each with a reversal of all of it that is due now; their ids."""
    made = (_owed(stripe, number, f"seller{number % sellers}") for number in range(count))
    ids: list[UUID] = []
    while several := list(islice(made, AT_ONCE)):
        book = await fleet.ledger.load([])
        book.add(several)
        await fleet.ledger.append(book)
        ids += [transfer.id for transfer in several]
    return ids


def _owed(stripe: LightStripe, number: int, seller: str) -> SellerTransfer:
    order_id, refund_id = f"o{number}", f"r{number}"
    transfer_id = transfer_stream(order_id, seller)
    metadata = {"transfer_id": str(transfer_id), "order_id": order_id, "seller_id": seller}
    body = TransferBody(
        amount=900, currency=CURRENCY.lower(), destination=account(seller), transfer_group=order_id, metadata=metadata
    )
    fact = Imported(
        originator_id=transfer_id,
        originator_version=1,
        originator_topic=TOPIC,
        timestamp=now(),
        order_id=order_id,
        seller_id=seller,
        destination=account(seller),
        amount=900,
        currency=CURRENCY,
        transfer_group=order_id,
        status=TransferStatus.REVERSAL_PENDING.value,
        amount_reversed=0,
        stripe_transfer_id=stripe.hold(body),
        reversal_id=str(reversal_name(transfer_id, refund_id)),
        refund_id=refund_id,
        next_retry_at=now(),
        evidence="a table of an older system",
    )
    return opened(SellerTransfer, fact)
