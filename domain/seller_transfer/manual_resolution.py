"""Manual resolution of a transfer that is stuck or waits, by an object at Stripe or by a note.

Nothing is sent. The object at Stripe is read first (`seen`) and recorded like any other answer. A
note is recorded with its author, and the ledger does not ask Stripe for that money again.
"""

from datetime import datetime

from domain.errors import CallInFlight, EvidenceDiffers, NothingToResolve
from domain.lifecycle import TransferStatus
from domain.provider_call.reasons import FailureReason
from domain.provider_call.stripe_objects import SUCCEEDED, ReversalAtStripe, TransferAtStripe
from domain.seller_transfer import facts
from domain.seller_transfer.aggregate import SellerTransfer
from domain.seller_transfer.external_reversals import record_external
from domain.seller_transfer.giving_up import stop
from domain.seller_transfer.resolutions import tell_owed
from domain.seller_transfer.reversal_outcome import complete_by
from domain.seller_transfer.transfer_outcome import complete


def resolve(
    transfer: SellerTransfer, actor: str, reason: str, evidence: str, now: datetime
) -> None:
    """Record that the transfer was paid outside Stripe, was written off, or is not owed any more.

    `evidence` refers to the record of that. Raises NothingToResolve unless the transfer is
    permanently failed, has lapsed resolutions, or waits: for funds, an account, its next attempt, a
    person, or to be cleared after an import. Raises CallInFlight while a call is under way.
    """
    if transfer.lapsed and transfer.owed is None:
        _settle_lapsed(transfer, actor, reason, evidence, now)
        return
    _require_waiting(transfer, now)
    if transfer.uncleared:
        stop(
            transfer,
            FailureReason.CLEARED,
            "Whether the older system has paid it was decided by a person.",
            None,
            now,
        )
    if not transfer.paid:
        _resolve_unpaid(transfer, actor, reason, evidence, now)
        return
    reversal = transfer.owed
    transfer.reopen(actor, reason, now)
    full = transfer.amount_reversed >= transfer.amount
    to = TransferStatus.REVERSED if full else TransferStatus.PARTIALLY_REVERSED
    _resolved(
        transfer,
        actor,
        reason,
        evidence,
        now,
        to,
        reversal.reversal_id if reversal is not None else None,
    )
    transfer.release_queue(now)


def _resolve_unpaid(
    transfer: SellerTransfer, actor: str, reason: str, evidence: str, now: datetime
) -> None:
    if transfer.settled_outside is not None:
        _collect_outside(transfer, actor, reason, evidence, now)
        return
    if transfer.amount > 0:
        _resolved(transfer, actor, reason, evidence, now, None)
        return
    transfer.reopen(actor, reason, now)
    _resolved(transfer, actor, reason, evidence, now, TransferStatus.CANCELLED)


def _collect_outside(
    transfer: SellerTransfer, actor: str, reason: str, evidence: str, now: datetime
) -> None:
    """Close the oldest reversal of a transfer that was settled outside Stripe itself."""
    assert transfer.settled_outside is not None
    if not transfer.queue:
        raise NothingToResolve(transfer.id, transfer.settled_outside)
    oldest = transfer.queue[0]
    _resolved(transfer, actor, reason, evidence, now, None, oldest.reversal_id)
    tell_owed(transfer, now)


def _settle_lapsed(
    transfer: SellerTransfer, actor: str, reason: str, evidence: str, now: datetime
) -> None:
    """Record that nothing is left to decide about resolutions whose causes have disappeared."""
    for reversal in transfer.lapsed:
        left = reversal.amount - reversal.lapsed
        _resolved(transfer, actor, reason, evidence, now, None, reversal.reversal_id, left)


def resolve_by_transfer(
    transfer: SellerTransfer, seen: TransferAtStripe, actor: str, reason: str, now: datetime
) -> None:
    """Record a transfer at Stripe, made by any system, as the payment. Raises NothingToResolve,
    EvidenceDiffers, CallInFlight."""
    _require_waiting(transfer, now)
    if transfer.stripe_transfer_id is not None:
        raise NothingToResolve(transfer.id, f"it is paid by {transfer.stripe_transfer_id} already")
    asked = seen.destination if seen.destination in transfer.accounts else transfer.destination
    _require_equal(
        seen.stripe_transfer_id,
        destination=(seen.destination, asked),
        currency=(seen.currency, transfer.currency),
        amount=(
            seen.amount,
            transfer.amount if seen.amount == transfer.amount else transfer.original,
        ),
        transfer_id=(seen.transfer_id or str(transfer.id), str(transfer.id)),
    )
    if not transfer.uncleared:
        transfer.reopen(actor, reason, now, to=TransferStatus.FAILED)
    complete(
        transfer,
        seen.stripe_transfer_id,
        seen.amount,
        None,
        now,
        note=f"resolved by {actor}: {reason}",
    )
    _resolved(transfer, actor, reason, seen.stripe_transfer_id, now, None)
    record_external(transfer, seen, now)


def resolve_by_reversal(
    transfer: SellerTransfer,
    seen: TransferAtStripe,
    stripe_reversal_id: str,
    actor: str,
    reason: str,
    now: datetime,
) -> None:
    """Record a reversal at Stripe as the one that is owed. Raises NothingToResolve,
    EvidenceDiffers, CallInFlight."""
    _require_waiting(transfer, now)
    reversal = transfer.owed
    if reversal is None:
        raise NothingToResolve(
            transfer.id,
            "no refund is owed any reversal of it; say what happened by another evidence",
        )
    made = next(
        (one for one in seen.reversals if one.stripe_reversal_id == stripe_reversal_id), None
    )
    if made is None or _known(transfer, made):
        why = (
            "is recorded already"
            if made is not None
            else f"is no reversal of {seen.stripe_transfer_id}"
        )
        raise EvidenceDiffers(stripe_reversal_id, why)
    _require_equal(
        stripe_reversal_id,
        status=(made.status, SUCCEEDED),
        reversal_id=(made.reversal_id or reversal.reversal_id, reversal.reversal_id),
    )
    transfer.reopen(actor, reason, now, reversal)
    complete_by(transfer, reversal.reversal_id, made, now, note=f"resolved by {actor}: {reason}")
    _resolved(transfer, actor, reason, stripe_reversal_id, now, None)
    transfer.release_queue(now)


def _known(transfer: SellerTransfer, made: ReversalAtStripe) -> bool:
    return made.stripe_reversal_id in {
        reversal.stripe_reversal_id for reversal in transfer.reversals.values()
    }


def _require_waiting(transfer: SellerTransfer, now: datetime) -> None:
    """Give up what waits, so that it can be resolved. Nothing may be under way at Stripe."""
    operation = transfer.operation
    if operation is not None and operation.in_call:
        raise CallInFlight(transfer.id)
    if transfer.status is TransferStatus.PERMANENTLY_FAILED or transfer.uncleared:
        return
    if operation is None:
        raise NothingToResolve(transfer.id, f"it is {transfer.status}, and nothing of it waits")
    if operation.open or transfer.unverified:
        raise NothingToResolve(
            transfer.id,
            f"it is {transfer.status}, and Stripe's books are read first for a call whose outcome "
            "is unknown",
        )
    if transfer.held is not None:
        stop(transfer, FailureReason.HELD_BACK, transfer.held, None, now)
    else:
        stop(transfer, FailureReason.RESOLVED, "A person ended the wait.", None, now)


def _require_equal(stripe_id: str, **members: tuple[object, object]) -> None:
    for name, (theirs, ours) in members.items():
        if theirs != ours:
            raise EvidenceDiffers(stripe_id, f"has the {name} {theirs!r}, expected {ours!r}")


def _resolved(
    transfer: SellerTransfer,
    actor: str,
    reason: str,
    evidence: str,
    now: datetime,
    to: TransferStatus | None,
    reversal_id: str | None = None,
    reversal_amount: int | None = None,
) -> None:
    transfer.record(
        facts.Resolved(
            **transfer.next(now),
            actor=actor,
            reason=reason,
            evidence=evidence,
            to=to.value if to is not None else None,
            reversal_id=reversal_id,
            reversal_amount=reversal_amount,
        )
    )
