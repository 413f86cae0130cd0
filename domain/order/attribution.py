"""Attribution of recovered amounts: the refund or dispute for which an amount is taken now.

A refund that fails leaves its part to the disputes that it had come before. After a restore, a
refund that is reported explains amounts that Stripe shows as taken.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from domain.order.aggregate import Order
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal import Reason, ReversalStatus
from domain.seller_transfer.state import NOT_RECORDED


def withdraw_revoked(transfers: Sequence[SellerTransfer], cause_id: str, now: datetime) -> None:
    """Withdraw the unsent reversals for a revoked cause: an amount that is due all the same is
    taken anew, for the refund or dispute that takes it now."""
    for transfer in transfers:
        for reversal in list(transfer.reversals.values()):
            waits = reversal.state in (ReversalStatus.QUEUED, ReversalStatus.REQUESTED)
            own = reversal.refund_id == cause_id and reversal.reason != Reason.IMPORTED
            known = transfer.reversals[reversal.reversal_id]
            if waits and own and not transfer.is_open(known):
                transfer.withdraw(known, known.amount, cause_id, now)


def causes_of(
    order: Order, transfers: Sequence[SellerTransfer], due: int, revoked: str
) -> Iterator[tuple[str, int]]:
    """Divide `due` among the effective refunds and disputes that have not taken their part of the
    seller's share, since a revoked one takes nothing any more."""
    causes = order.causes if due > 0 else []
    parts = order.parts_by_cause() if causes else {}
    seller_id = transfers[0].seller_id
    for cause_id in causes:
        taken = sum(transfer.taken_for(cause_id) for transfer in transfers)
        part = min(due, max(0, parts[cause_id].get(seller_id, 0) - taken))
        if cause_id == causes[-1]:
            part = due
        if part > 0:
            yield cause_id, part
            due -= part
    if not causes and due > 0:
        yield revoked, due


def explained(
    order: Order, transfers: Sequence[SellerTransfer], due: int, cause_id: str, now: datetime
) -> int:
    """Return the amount still to take from a seller, after amounts that were not sent and that the
    reported refunds explain now.

    While a restore goes on (`order.unverified`), an unexplained amount is not given back: its
    refund may still be reported.
    """
    unknown = sum(transfer.reductions.get(NOT_RECORDED, 0) for transfer in transfers)
    covered = min(unknown, max(0, due + unknown)) if order.unverified else unknown
    held = unknown - covered
    for transfer in transfers:
        part = min(covered, transfer.reductions.get(NOT_RECORDED, 0))
        if part > 0:
            transfer.explain(cause_id, part, now)
            covered -= part
    return due + held
