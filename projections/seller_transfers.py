"""The read model `seller_transfers`: one row per transfer, the fold of its one stream."""

from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from domain.lifecycle import TransferStatus
from domain.provider_call.reasons import WaitingFor
from domain.seller_transfer import facts
from domain.seller_transfer.facts import AnyTransferFact


class SellerTransferRow(NamedTuple):
    """A row of `seller_transfers`, without the lease columns. Amounts in minor units, times in
    UTC."""

    transfer_id: UUID
    order_id: str
    seller_id: str
    destination: str
    cause: str
    amount: int
    currency: str
    status: str
    amount_reversed: int
    stripe_transfer_id: str | None
    stripe_reversal_id: str | None
    retry_count: int
    next_retry_at: datetime | None
    waiting_for: str | None
    last_error: str | None
    refund_id: str | None
    transfer_group: str
    source_transaction: str | None
    version: int
    created_at: datetime
    updated_at: datetime


def evolve(row: SellerTransferRow | None, fact: AnyTransferFact) -> SellerTransferRow:
    """Return the row after a fact. Append, rebuild and `as_of` queries use this same pure
    function."""
    if isinstance(fact, facts.Created | facts.Imported):
        return _opened(fact)
    assert row is not None, f"{type(fact).__name__} cannot be the first fact of a stream"
    changed = _changed(row, fact)
    status = fact.leads_to
    return changed._replace(
        status=row.status if status is None else status.value,
        version=fact.originator_version,
        updated_at=fact.timestamp,
    )


def _opened(fact: facts.Created | facts.Imported) -> SellerTransferRow:
    imported = fact if isinstance(fact, facts.Imported) else None
    status = TransferStatus(imported.status) if imported else TransferStatus.PENDING
    undated = fact.next_retry_at is None and status in (
        TransferStatus.PENDING,
        TransferStatus.FAILED,
    )
    return SellerTransferRow(
        transfer_id=fact.originator_id,
        order_id=fact.order_id,
        seller_id=fact.seller_id,
        destination=fact.destination,
        cause=fact.cause,
        amount=fact.amount,
        currency=fact.currency,
        status=status.value,
        amount_reversed=imported.amount_reversed if imported else 0,
        stripe_transfer_id=imported.stripe_transfer_id if imported else None,
        stripe_reversal_id=imported.stripe_reversal_id if imported else None,
        retry_count=imported.retry_count if imported else 0,
        next_retry_at=fact.next_retry_at,
        waiting_for=_waits_for(fact, undated),
        last_error=None,
        refund_id=imported.refund_id if imported else None,
        transfer_group=fact.transfer_group,
        source_transaction=fact.source_transaction,
        version=fact.originator_version,
        created_at=(imported and imported.created_at) or fact.timestamp,
        updated_at=fact.timestamp,
    )


def _waits_for(fact: facts.Created | facts.Imported, undated: bool) -> str | None:
    if isinstance(fact, facts.Created):
        return fact.waiting_for
    return WaitingFor.OPERATOR.value if undated else None


def _changed(row: SellerTransferRow, fact: AnyTransferFact) -> SellerTransferRow:
    match fact:
        case facts.Completed():
            done = row._replace(stripe_transfer_id=fact.stripe_transfer_id, amount=fact.amount)
            return done._replace(next_retry_at=None, waiting_for=None, last_error=None)
        case facts.Failed() | facts.AttemptDeferred():
            return row._replace(
                retry_count=fact.retry_count,
                next_retry_at=fact.next_retry_at,
                waiting_for=fact.waiting_for,
                last_error=fact.detail,
            )
        case facts.SourceDecided():
            decided = row._replace(source_transaction=fact.source_transaction)
            if fact.next_retry_at is None:
                return decided
            return decided._replace(next_retry_at=fact.next_retry_at, waiting_for=None)
        case facts.AmountReduced():
            return row._replace(amount=fact.amount, refund_id=fact.refund_id or None)
        case facts.Cancelled():
            return row._replace(refund_id=fact.refund_id, next_retry_at=None, waiting_for=None)
        case facts.ReversalRequested():
            begun = row._replace(refund_id=fact.refund_id, stripe_reversal_id=None, retry_count=0)
            return begun._replace(
                next_retry_at=fact.next_retry_at, waiting_for=None, last_error=None
            )
        case facts.ReversalWithdrawn():
            return row._replace(next_retry_at=None, waiting_for=None) if fact.in_flight else row
        case facts.PartiallyReversed() | facts.Reversed():
            settled = row._replace(
                amount_reversed=fact.amount_reversed, stripe_reversal_id=fact.stripe_reversal_id
            )
            return settled._replace(next_retry_at=None, waiting_for=None, last_error=None)
        case facts.PermanentlyFailed():
            return row._replace(
                next_retry_at=None, waiting_for=None, last_error=f"{fact.reason}: {fact.detail}"
            )
        case facts.HeldBack():
            return row._replace(
                next_retry_at=fact.next_retry_at, waiting_for="payment", last_error=fact.why
            )
        case facts.RetryRequested():
            return row._replace(next_retry_at=fact.next_retry_at, waiting_for=None)
        case facts.Redirected():
            waits = None if fact.due_now else row.waiting_for
            moved = row._replace(destination=fact.destination, waiting_for=waits)
            return moved._replace(next_retry_at=fact.next_retry_at)
        case facts.Reopened():
            return row._replace(next_retry_at=fact.next_retry_at, waiting_for=None, retry_count=0)
        case facts.Resolved():
            return (
                row._replace(next_retry_at=None, waiting_for=None)
                if fact.to is not None
                else _resolved(row, fact)
            )
        case facts.StripeTransferIdBackfilled():
            return row._replace(stripe_transfer_id=fact.stripe_transfer_id)
        case facts.EvidenceHeld():
            return row._replace(last_error=fact.detail)
        case facts.ResolutionLapsed() | facts.ResolutionReinstated() | facts.OwedOutside():
            return row
        case facts.TransferAlarmAcknowledged():
            return row
        case (
            facts.CallStarted()
            | facts.ReversalQueued()
            | facts.ReversalReduced()
            | facts.ReversalContested()
            | facts.ReversalAttributed()
            | facts.MissingCauseReported()
        ):
            return row
        case facts.Created() | facts.Imported():
            return row  # only a first fact, which `evolve` handles
        case _:
            assert_never(fact)


def _resolved(row: SellerTransferRow, fact: facts.Resolved) -> SellerTransferRow:
    stuck = row.status == TransferStatus.PERMANENTLY_FAILED
    return row._replace(last_error=f"resolved by {fact.actor}: {fact.reason}") if stuck else row
