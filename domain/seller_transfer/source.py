"""Source of a transfer: the charge that funds it, or the platform's balance.

With a charge as its source (`source_transaction`), Stripe pays the transfer from the buyer's
payment, even while that money is pending and the platform's balance is empty. The source is part of
the body, so a key that was used keeps the body without it: a decision counts from the next key on.
"""

from datetime import datetime

from domain.provider_call.reasons import FailureReason
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.giving_up import stop
from domain.seller_transfer.state import UNSENT

REFUSED = (
    "Stripe transfers from a charge only in the currency in which it was settled. Retry the "
    "transfer to send it from the platform's balance, or pay the seller in another way and resolve "
    "it."
)


def takes_source(transfer: SellerTransfer) -> bool:
    """Return whether the charge of the order can still become the source of this transfer."""
    return (
        transfer.status in UNSENT
        and transfer.operation is not None
        and transfer.source_transaction is None
        and not transfer.imported
    )


def decide_source(
    transfer: SellerTransfer, source_transaction: str | None, why: str, now: datetime
) -> None:
    """Record the source of an unsent transfer; it is due now if it waited for its charge or for
    funds."""
    operation = transfer.operation
    assert operation is not None, "only an unsent transfer gets another source"
    waited = transfer.awaits_charge or operation.awaiting_since is not None
    due = now if waited and transfer.held is None and not operation.open else None
    # a key that was used belongs to one body from then on
    used = operation.epoch_began is not None or operation.open
    transfer.record(
        facts.SourceDecided(
            **transfer.next(now),
            source_transaction=source_transaction,
            why=why,
            epoch=operation.epoch + used,
            next_retry_at=due,
        )
    )


def refuse_source(transfer: SellerTransfer, why: str, now: datetime) -> None:
    """Record that the charge cannot fund this transfer because of its currency, and send nothing
    before a person decides."""
    detail = f"{why} {REFUSED}"
    decide_source(transfer, None, detail, now)
    stop(transfer, FailureReason.SOURCE_CURRENCY, detail, None, now)
