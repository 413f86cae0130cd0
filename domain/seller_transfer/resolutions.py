"""Refunds that change after a person has closed a transfer or a reversal outside Stripe.

Money that never came back through Stripe is never paid back through Stripe. The person is told the
amount, and `resolve` records the end.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from domain.identity import SALE
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal import Reversal


def lapse(
    transfers: Iterable[SellerTransfer], excess: int, causes: Collection[str], now: datetime
) -> int:
    """Let resolutions for these causes lapse, up to `excess`; return how much did."""
    left = max(excess, 0)
    for transfer in transfers:
        for reversal in list(transfer.reversals.values()):
            amount = min(left, reversal.standing) if reversal.refund_id in causes else 0
            if amount > 0:
                _lapse(transfer, reversal, amount, now)
                left -= amount
    return max(excess, 0) - left


def lapse_uncovered(
    transfers: Sequence[SellerTransfer], excess: int, effective: Collection[str], now: datetime
) -> int:
    """Let resolutions lapse that no compensation may pay back: those of causes that have
    disappeared, and then the amount above what Stripe has taken. Return how much did."""
    resolved = {
        reversal.refund_id or ""
        for transfer in transfers
        for reversal in transfer.reversals.values()
        if reversal.standing
    }
    lapsed = lapse(transfers, excess, resolved.difference(effective), now)
    at_stripe = sum(
        transfer.taken - transfer.standing - (0 if transfer.cause == SALE else transfer.original)
        for transfer in transfers
    )
    return lapsed + lapse(transfers, excess - lapsed - max(at_stripe, 0), resolved, now)


def _lapse(transfer: SellerTransfer, reversal: Reversal, amount: int, now: datetime) -> None:
    transfer.record(
        facts.ResolutionLapsed(
            **transfer.next(now),
            reversal_id=reversal.reversal_id,
            refund_id=reversal.refund_id,
            amount=amount,
            total=_undecided(transfer) + amount,
            order_id=transfer.order_id,
            seller_id=transfer.seller_id,
            currency=transfer.currency,
        )
    )


def reinstate(transfers: Iterable[SellerTransfer], cause_id: str, due: int, now: datetime) -> int:
    """Let lapsed resolutions for this cause count again, up to `due`; return how much does."""
    left = max(due, 0)
    for transfer in transfers:
        for reversal in transfer.lapsed:
            amount = min(left, reversal.lapsed) if reversal.refund_id == cause_id else 0
            if amount > 0:
                transfer.record(
                    facts.ResolutionReinstated(
                        **transfer.next(now),
                        reversal_id=reversal.reversal_id,
                        refund_id=reversal.refund_id,
                        amount=amount,
                        total=_undecided(transfer) - amount,
                    )
                )
                left -= amount
    return max(due, 0) - left


def _undecided(transfer: SellerTransfer) -> int:
    return sum(reversal.lapsed for reversal in transfer.lapsed)


def tell_owed(transfer: SellerTransfer, now: datetime) -> None:
    """Record how much refunds take of a transfer that was settled outside Stripe, if that has
    changed."""
    if transfer.settled_outside is None:
        return
    owed = sum(reversal.amount for reversal in transfer.queue)
    if owed != transfer.owed_outside:
        transfer.record(
            facts.OwedOutside(
                **transfer.next(now),
                amount=owed,
                order_id=transfer.order_id,
                seller_id=transfer.seller_id,
                currency=transfer.currency,
                settled=transfer.settled_outside,
            )
        )
