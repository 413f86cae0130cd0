"""Reversals that others made at Stripe: in its dashboard, by `reverse_transfer`, or by an older
system."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from domain.identity import external_reversal, may_be_ours, reversal_name
from domain.lifecycle import TransferStatus
from domain.provider_call.stripe_objects import ReversalAtStripe, TransferAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.reversal import Reason
from domain.seller_transfer.stripe_call import EXTERNAL, end_reversal

MOST_ROUNDS = 20
"""Maximum number of reversals per transfer and refund that are recognised as ours by their ids."""


def external_reversals(transfer: SellerTransfer, seen: TransferAtStripe) -> list[ReversalAtStripe]:
    """Return the reversals at Stripe that this ledger neither made nor recorded, oldest first.

    Pending ones do not count before Stripe has decided about them.
    """
    known = set(transfer.reversals)
    settled = {reversal.stripe_reversal_id for reversal in transfer.reversals.values()}
    unnamed = [
        made
        for made in reversed(seen.reversals)
        if made.taken
        and made.reversal_id not in known
        and made.stripe_reversal_id not in settled
        and external_id(transfer.id, made.stripe_reversal_id) not in known
        # ours, for a refund that a restore has lost: recorded as external, it would count again
        # once the refund is reported
        and not names_ours(transfer, made)
    ]
    return _not_in_the_sum(transfer, unnamed)


def names_ours(transfer: SellerTransfer, made: ReversalAtStripe) -> bool:
    """Return whether its id says that this ledger made it.

    An older system may have used similar ids, so for an imported transfer only ids derived from
    transfer and refund count.
    """
    if not transfer.imported or made.refund_id is None:
        return not transfer.imported and may_be_ours(made.reversal_id)
    return named_by_us(transfer, made)


def named_by_us(transfer: SellerTransfer, made: ReversalAtStripe) -> bool:
    """Return whether the id of a reversal follows from the transfer and the refund that its
    metadata names."""
    return made.refund_id is not None and made.reversal_id in {
        str(reversal_name(transfer.id, made.refund_id, n)) for n in range(1, MOST_ROUNDS + 1)
    }


def _not_in_the_sum(
    transfer: SellerTransfer, unnamed: Sequence[ReversalAtStripe]
) -> list[ReversalAtStripe]:
    """Return the reversals that `amount_reversed` does not contain yet.

    Reversals from before an import, or several external ones together, are recorded as a sum: it
    contains the oldest.
    """
    summed = transfer.amount_reversed - sum(
        c.settled for c in transfer.reversals.values() if c.stripe_reversal_id
    )
    others: list[ReversalAtStripe] = []
    for made in unnamed:
        if made.amount <= summed:
            summed -= made.amount
        else:
            others.append(made)
    return others


def external_id(transfer_id: UUID, stripe_reversal_id: str) -> str:
    """Return our id for an external reversal at Stripe."""
    return str(external_reversal(transfer_id, stripe_reversal_id))


def record_external(
    transfer: SellerTransfer,
    seen: TransferAtStripe,
    now: datetime,
    note: str | None = None,
    only: str | None = None,
) -> None:
    """Record external reversals; while a reversal of ours runs, they wait for its outcome.

    `note` names the way in which they were noticed, if not by an event of Stripe. `only` limits it
    to one of Stripe's ids.
    """
    if transfer.status in (TransferStatus.COMPLETED, TransferStatus.PARTIALLY_REVERSED):
        for reversal in external_reversals(transfer, seen):
            if only in (None, reversal.stripe_reversal_id):
                transfer.record(external_request(transfer, reversal, now, note))
                end_external(transfer, reversal, now)


def external_request(
    transfer: SellerTransfer, external: ReversalAtStripe, now: datetime, note: str | None = None
) -> facts.ReversalRequested:
    """Build the request of an external reversal. Its outcome follows in the same append, so the
    ledger never sends it."""
    return facts.ReversalRequested(
        **transfer.next(now),
        reversal_id=external_id(transfer.id, external.stripe_reversal_id),
        refund_id=None,
        amount=external.amount,
        reason=Reason.EXTERNAL.value,
        next_retry_at=now,
        note=note or _made_by(external),
    )


def end_external(transfer: SellerTransfer, external: ReversalAtStripe, now: datetime) -> None:
    """Record the outcome of the request that `external_request` has built."""
    reversal = transfer.reversals[external_id(transfer.id, external.stripe_reversal_id)]
    end_reversal(transfer, reversal, external.stripe_reversal_id, external.amount, EXTERNAL, now)


def _made_by(reversal: ReversalAtStripe) -> str:
    if reversal.source_refund is not None:
        return f"made at Stripe by refund {reversal.source_refund} with reverse_transfer"
    return "made at Stripe outside this ledger"
