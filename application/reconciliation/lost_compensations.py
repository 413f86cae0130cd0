"""Compensating transfers of this ledger that Stripe holds and that a restored backup does not
contain.

The id of a compensation follows from the order, the seller, the transfer that it compensates and
the refund or dispute. A compensation whose metadata names them, and whose id fits, was made by this
ledger.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from application.unit_of_work import UnitOfWork, recover_again
from domain.errors import NotAdoptable
from domain.identity import compensation, may_be_ours, transfer_stream
from domain.provider_call.stripe_objects import TransferAtStripe
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.external_reversals import MOST_ROUNDS
from domain.seller_transfer.found_reversals import NOTE, take_in
from domain.seller_transfer.reversal import ReversalStatus
from domain.seller_transfer.state import NOT_RECORDED
from domain.seller_transfer.transfer_outcome import complete


class LostCompensation(NamedTuple):
    """A compensation at Stripe, and its parts."""

    seen: TransferAtStripe
    order_id: str
    seller_id: str
    taken_from: UUID
    """The transfer that it compensates."""
    cause_id: str
    """The refund or dispute that had taken the amount."""
    cause: str
    """Its cause as a transfer."""


def lost_compensation(seen: TransferAtStripe) -> LostCompensation | None:
    """Return the compensation that a transfer at Stripe is; None if its id does not prove that."""
    names = seen.gives_back
    if names is None or not may_be_ours(names.compensates):
        return None
    taken_from = UUID(names.compensates)
    for nth in range(1, MOST_ROUNDS + 1):
        cause = compensation(taken_from, names.cause_id, nth)
        if str(transfer_stream(names.order_id, names.seller_id, cause)) == seen.transfer_id:
            parts = names.order_id, names.seller_id, taken_from, names.cause_id, cause
            return LostCompensation(seen, *parts)
    return None


def obstacle(lost: LostCompensation, transfers: Sequence[SellerTransfer]) -> str | None:
    """Return why a compensation cannot be recorded yet; None if it can.

    `transfers` are those of its order. The amount that it gives back must be recorded as taken,
    or the next recovery of shares would take the compensation itself.
    """
    taken_from = next((one for one in transfers if one.id == lost.taken_from), None)
    if taken_from is None:
        return "no order here owes it"
    if (lost.seen.destination, lost.seen.currency) != (taken_from.destination, taken_from.currency):
        return "its currency or destination is not that of the transfer that it compensates"
    given_back = [one.original for one in transfers if one.cause == lost.cause]
    if _taken(taken_from, lost.cause_id) - sum(given_back) < lost.seen.amount:
        return "the reversal that it gives back has to be adopted first"
    return None


def _taken(transfer: SellerTransfer, cause_id: str) -> int:
    made = [
        reversal.settled
        for reversal in transfer.reversals.values()
        if reversal.refund_id == cause_id and reversal.state is ReversalStatus.REVERSED
    ]
    reductions = transfer.reductions.get(cause_id, 0) + transfer.reductions.get(NOT_RECORDED, 0)
    return sum(made) + reductions


def record_compensation(
    uow: UnitOfWork,
    lost: LostCompensation,
    paid_by: TransferAtStripe | None,
    now: datetime,
    note: str = NOTE,
) -> list[str]:
    """Record a compensation that Stripe holds; return the causes for which shares must be recovered
    again.

    `paid_by` is the compensated transfer as Stripe shows it: its reversals are recorded first.
    Raises UnknownId, NotAdoptable.
    """
    order, recorded = uow.order(lost.order_id), uow.recorded_causes(lost.order_id)
    causes = {lost.cause_id}
    if paid_by is not None:
        causes.update(take_in(uow.transfer(lost.taken_from), paid_by, recorded, now, note))
    made = next((one for one in uow.transfers() if str(one.id) == lost.seen.transfer_id), None)
    if made is None:
        why = obstacle(lost, uow.transfers())
        if why is not None:
            raise NotAdoptable(lost.seen.stripe_transfer_id, why)
        made = SellerTransfer.create(
            order_id=lost.order_id,
            seller_id=lost.seller_id,
            destination=lost.seen.destination,
            amount=lost.seen.amount,
            currency=lost.seen.currency,
            cause=lost.cause,
            now=now,
        )
        uow.add([made])
        order.owe(made.id, made.seller_id, made.original, lost.cause_id, now)
    seen = lost.seen
    complete(made, seen.stripe_transfer_id, seen.amount, None, now, note, made=seen.reversals)
    causes.update(take_in(made, seen, recorded, now, note))
    return sorted(causes & recorded)


def recover_after(
    uow: UnitOfWork, lost: LostCompensation, causes: Sequence[str], now: datetime
) -> None:
    """Recover the shares of the order of a compensation again, for these causes."""
    uow.mark_unverified()
    for cause_id in causes:
        recover_again(uow, uow.order(lost.order_id), cause_id, now)
