"""Holding back what is unsent of an order whose payment, recorded as succeeded, is said to have failed.

What may be at Stripe already is decided by Stripe's books first; from then on nothing of it is sent before a person says so,
by `retry` or by `resolve`. Refunds go on meanwhile: they reduce what is held back, or cancel it.
"""

from datetime import datetime

from domain.lifecycle import TransferStatus
from domain.provider_call.operation import Operation
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer

UNSENT = (TransferStatus.PENDING, TransferStatus.FAILED)


def hold_back(transfer: SellerTransfer, why: str, now: datetime) -> None:
    """Take an unsent transfer out of what is due; one whose call is open first has its outcome read in Stripe's books."""
    operation = transfer.operation
    if operation is None or transfer.status not in UNSENT:
        return
    _held_back(transfer, operation, why, now)


def stay_held(transfer: SellerTransfer, now: datetime) -> None:
    """After a step that has not paid it: what is held back rests again, as soon as nothing can be at Stripe."""
    operation = transfer.operation
    if transfer.held is None or operation is None or operation.open:
        return
    _held_back(transfer, operation, transfer.held, now)


def _held_back(transfer: SellerTransfer, operation: Operation, why: str, now: datetime) -> None:
    due = transfer.next_retry_at if operation.open else None
    transfer.record(facts.HeldBack(**transfer.next(now), why=why, next_retry_at=due))
    if not operation.open:
        transfer.forgo_queue(now)
