"""Reversals of this ledger that Stripe holds and that a restored backup does not contain.

The id of a reversal at Stripe follows from transfer, refund and round, so an id that fits proves
that this ledger made it. It counts whatever became of its refund: if the refund failed since, the
amount is given back. If the refund is not recorded here, the amount is set apart until it is
reported.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

from domain.lifecycle import TransferStatus
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.external_reversals import named_by_us
from domain.seller_transfer.reversal import Reversal, ReversalStatus, reason_of
from domain.seller_transfer.stripe_call import US, end_reversal

NOTE = "found in Stripe's books"


def not_recorded(transfer: SellerTransfer, seen: TransferAtStripe) -> list[ReversalAtStripe]:
    """Return the reversals of this ledger that Stripe holds and that are not recorded as made,
    oldest first.

    A reversal whose outcome is awaited, or that a person has resolved, is not among them.
    """
    recorded = {reversal.stripe_reversal_id for reversal in transfer.reversals.values()}
    unmade = (ReversalStatus.QUEUED, ReversalStatus.WITHDRAWN)
    found: list[ReversalAtStripe] = []
    for made in reversed(seen.reversals):
        known = transfer.reversals.get(made.reversal_id or "")
        ours = known.state in unmade if known is not None else named_by_us(transfer, made)
        if ours and made.taken and made.stripe_reversal_id not in recorded:
            found.append(made)
    return found


def take_in(
    transfer: SellerTransfer,
    seen: TransferAtStripe,
    recorded: Collection[str],
    now: datetime,
    note: str = NOTE,
    *,
    only: str | None = None,
    closed: bool = False,
    refused: bool = False,
) -> list[str]:
    """Record the reversals of this ledger that Stripe holds; return the causes for which shares
    must be recovered again.

    `recorded` are the refunds and disputes that are recorded here. `only` limits it to one of
    Stripe's ids. While a call of ours is open, its outcome comes first; `closed`: a look-up has
    shown that the call had no effect; `refused`: Stripe has refused it, too.
    """
    causes = _end_running(transfer, seen, now, note, only)
    found = [one for one in not_recorded(transfer, seen) if only in (None, one.stripe_reversal_id)]
    running, operation = transfer.in_flight, transfer.operation
    waits = operation is not None and operation.open and not closed
    sent = (*_REVERSIBLE, TransferStatus.REVERSAL_PENDING)
    if not found or waits or transfer.status not in sent:
        return _recorded(causes, recorded)
    left = transfer.amount - transfer.amount_reversed - sum(made.amount for made in found)
    if left < 0:
        # more than was paid: the amounts differ, and `reconcile` names it
        return _recorded(causes, recorded)
    causes += [_cause_of(transfer, made) for made in found]
    if running is not None and left == 0:
        transfer.withdraw_absent(running, now)
        causes.append(running.refund_id)
        running = None
    for made in found:
        _record(transfer, made, recorded, now, note)
    if running is not None:
        _request_again(transfer, running, min(running.amount, left), now, refused=refused)
    else:
        transfer.release_queue(now)
    return _recorded(causes, recorded)


def _recorded(causes: Iterable[str | None], recorded: Collection[str]) -> list[str]:
    return [cause_id for cause_id in causes if cause_id is not None and cause_id in recorded]


_REVERSIBLE = (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED)


def _end_running(
    transfer: SellerTransfer, seen: TransferAtStripe, now: datetime, note: str, only: str | None
) -> list[str | None]:
    """Record the outcome of the running reversal if Stripe holds it, then of the next one that
    waited; return the causes with other amounts at Stripe than here."""
    differing: list[str | None] = []
    at_stripe = {
        made.reversal_id: made
        for made in seen.reversals
        if made.taken and only in (None, made.stripe_reversal_id)
    }
    while (running := transfer.in_flight) is not None:
        made = at_stripe.pop(running.reversal_id, None)
        if made is None:
            break
        if made.amount != running.amount:  # a lost refund before it had changed its part
            differing.append(running.refund_id)
            running = _request_found(transfer, made, running.refund_id, running.reason, now, note)
        stripe_id = made.stripe_reversal_id
        end_reversal(transfer, running, stripe_id, made.amount, US, now, note)
        transfer.release_queue(now)
    return differing


def _cause_of(transfer: SellerTransfer, made: ReversalAtStripe) -> str | None:
    known = transfer.reversals.get(made.reversal_id or "")
    return known.refund_id if known is not None else made.refund_id


def _record(
    transfer: SellerTransfer,
    made: ReversalAtStripe,
    recorded: Collection[str],
    now: datetime,
    note: str,
) -> None:
    cause_id = _cause_of(transfer, made)
    known = transfer.reversals.get(made.reversal_id or "")
    reason = known.reason if known is not None else reason_of(cause_id).value
    missing = cause_id is not None and cause_id not in recorded
    reversal = _request_found(transfer, made, cause_id, reason, now, note, missing=missing)
    end_reversal(transfer, reversal, made.stripe_reversal_id, made.amount, US, now, note)


def _request_found(
    transfer: SellerTransfer,
    made: ReversalAtStripe,
    cause_id: str | None,
    reason: str,
    now: datetime,
    note: str,
    *,
    missing: bool = False,
) -> Reversal:
    """Record the request of a reversal with the amount that Stripe shows; its outcome follows."""
    reversal_id = made.reversal_id or ""
    transfer.record(
        facts.ReversalRequested(
            **transfer.next(now),
            reversal_id=reversal_id,
            refund_id=cause_id,
            amount=made.amount,
            reason=reason,
            next_retry_at=now,
            note=note,
            found=True,
            missing=missing,
        )
    )
    return transfer.reversals[reversal_id]


def _request_again(
    transfer: SellerTransfer, running: Reversal, amount: int, now: datetime, *, refused: bool
) -> None:
    """Request the running reversal again, which Stripe does not hold.

    Of the same amount under the same key: a call of it that a restore has lost may still arrive.
    When less is left, Stripe refuses that call, and a key that was used is replaced.
    """
    operation = transfer.operation
    assert operation is not None
    another = operation.epoch_began is not None and (refused or amount != running.amount)
    transfer.record(
        facts.ReversalRequested(
            **transfer.next(now),
            reversal_id=running.reversal_id,
            refund_id=running.refund_id,
            amount=amount,
            reason=running.reason,
            next_retry_at=now,
            epoch=operation.epoch + another,
        )
    )
