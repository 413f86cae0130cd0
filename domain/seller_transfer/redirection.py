"""Redirection of an unsent transfer to the new account of its seller."""

from datetime import datetime

from domain.lifecycle import TransferStatus
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer


def may_redirect(transfer: SellerTransfer) -> bool:
    """Return whether certainly nothing of it is at Stripe, and no person has settled it."""
    return transfer.unsent and not transfer.uncleared


def redirect(
    transfer: SellerTransfer, destination: str, actor: str, reason: str, now: datetime
) -> bool:
    """Send the transfer to `destination` instead. Returns whether its destination changed.

    A transfer that Stripe holds, or may hold, keeps its destination. One that waited until the
    former account is ready is due now.
    """
    operation = transfer.operation
    if not may_redirect(transfer) or transfer.destination == destination:
        return False
    waited = (
        transfer.status is TransferStatus.FAILED
        and transfer.next_retry_at is None
        and transfer.held is None
    )
    transfer.record(
        facts.Redirected(
            **transfer.next(now),
            destination=destination,
            former=transfer.destination,
            actor=actor,
            reason=reason,
            epoch=1 if operation is None else operation.epoch + (operation.epoch_began is not None),
            next_retry_at=now if waited else transfer.next_retry_at,
            due_now=waited,
        )
    )
    return True
