"""The read model `transfer_reversals`: one row per reversal, folded from the stream of its
transfer."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from domain.lifecycle import TransferStatus
from domain.provider_call.reasons import WaitingFor
from domain.seller_transfer import facts
from domain.seller_transfer.facts import AnyTransferFact
from domain.seller_transfer.reversal import Reason, ReversalStatus

_QUEUED, _REQUESTED, _REVERSED = (
    ReversalStatus.QUEUED.value,
    ReversalStatus.REQUESTED.value,
    ReversalStatus.REVERSED.value,
)


class ReversalRow(NamedTuple):
    """A row of `transfer_reversals`. Amounts in minor units of the transfer's currency, times in
    UTC."""

    reversal_id: UUID
    transfer_id: UUID
    order_id: str
    seller_id: str
    refund_id: str | None
    amount: int
    currency: str
    status: str
    reason: str
    settled_by: str | None
    stripe_reversal_id: str | None
    waiting_for: str | None
    created_at: datetime
    updated_at: datetime


class Reversals(NamedTuple):
    """Rows of a transfer's reversals, and the members of the transfer that these rows repeat."""

    order_id: str
    seller_id: str
    currency: str
    rows: Mapping[str, ReversalRow]


def evolve(reversals: Reversals | None, fact: AnyTransferFact) -> Reversals:
    """Return the reversals of a transfer after a fact."""
    if isinstance(fact, facts.Created):
        return Reversals(fact.order_id, fact.seller_id, fact.currency, {})
    if isinstance(fact, facts.Imported):
        return _imported(fact)
    assert reversals is not None, f"{type(fact).__name__} cannot be the first fact of a stream"
    changed = _changed(reversals, fact)
    return reversals._replace(rows={**reversals.rows, **changed}) if changed else reversals


def _imported(fact: facts.Imported) -> Reversals:
    none: dict[str, ReversalRow] = {}
    reversals = Reversals(fact.order_id, fact.seller_id, fact.currency, none)
    if fact.reversal_id is None or fact.status != TransferStatus.REVERSAL_PENDING:
        return reversals
    due, reason = fact.reversal_due, Reason.IMPORTED.value
    row = _row(reversals, fact, fact.reversal_id, fact.refund_id, due, reason, _REQUESTED)
    return reversals._replace(rows={fact.reversal_id: row})


def _row(
    reversals: Reversals,
    fact: AnyTransferFact,
    reversal_id: str,
    refund_id: str | None,
    amount: int,
    reason: str,
    status: str,
) -> ReversalRow:
    known = reversals.rows.get(reversal_id)
    return ReversalRow(
        reversal_id=UUID(reversal_id),
        transfer_id=fact.originator_id,
        order_id=reversals.order_id,
        seller_id=reversals.seller_id,
        refund_id=refund_id,
        amount=amount,
        currency=reversals.currency,
        status=status,
        reason=reason,
        settled_by=None,
        stripe_reversal_id=None,
        waiting_for=None,
        created_at=known.created_at if known else fact.timestamp,
        updated_at=fact.timestamp,
    )


def _changed(reversals: Reversals, fact: AnyTransferFact) -> dict[str, ReversalRow]:
    match fact:
        case facts.ReversalQueued():
            row = _row(
                reversals, fact, fact.reversal_id, fact.refund_id, fact.amount, fact.reason, _QUEUED
            )
            return {fact.reversal_id: row._replace(waiting_for=fact.waiting_for)}
        case facts.ReversalRequested():
            row = _row(
                reversals,
                fact,
                fact.reversal_id,
                fact.refund_id,
                fact.amount,
                fact.reason,
                _REQUESTED,
            )
            return {
                fact.reversal_id: row,
                **_waiting(reversals, fact, WaitingFor.REVERSAL.value, but=fact.reversal_id),
            }
        case facts.ReversalReduced():
            return _update(reversals, fact, fact.reversal_id, amount=fact.amount)
        case facts.ReversalAttributed():
            row = reversals.rows[fact.reversal_id]._replace(
                refund_id=fact.refund_id, reason=Reason.REFUND.value, updated_at=fact.timestamp
            )
            return {fact.reversal_id: row}
        case facts.ReversalWithdrawn():
            return _update(reversals, fact, fact.reversal_id, status=ReversalStatus.WITHDRAWN.value)
        case facts.PartiallyReversed() | facts.Reversed():
            return _settled(reversals, fact)
        case facts.PermanentlyFailed():
            failed = [name for name, row in reversals.rows.items() if row.status == _REQUESTED]
            stuck = {
                n: r
                for name in failed
                for n, r in _update(reversals, fact, name, status="failed").items()
            }
            return {**stuck, **_waiting(reversals, fact, WaitingFor.OPERATOR.value)}
        case facts.Resolved():
            if fact.reversal_id is None:
                return {}
            resolved = ReversalStatus.RESOLVED.value
            return _update(reversals, fact, fact.reversal_id, resolved, fact.reversal_amount)
        case facts.Reopened():
            again = (
                {}
                if fact.reversal_id is None
                else _update(reversals, fact, fact.reversal_id, status=_REQUESTED)
            )
            return {
                **again,
                **_waiting(reversals, fact, WaitingFor.REVERSAL.value, but=fact.reversal_id),
            }
        case (
            facts.Created()
            | facts.Imported()
            | facts.CallStarted()
            | facts.Completed()
            | facts.Failed()
        ):
            return {}
        case (
            facts.AttemptDeferred()
            | facts.SourceDecided()
            | facts.AmountReduced()
            | facts.Cancelled()
            | facts.ReversalContested()
            | facts.MissingCauseReported()
        ):
            return {}
        case (
            facts.EvidenceHeld()
            | facts.HeldBack()
            | facts.RetryRequested()
            | facts.StripeTransferIdBackfilled()
        ):
            return {}
        case facts.ResolutionLapsed() | facts.ResolutionReinstated() | facts.OwedOutside():
            return {}
        case facts.Redirected() | facts.TransferAlarmAcknowledged():
            return {}
        case _:
            assert_never(fact)


def _update(
    reversals: Reversals,
    fact: AnyTransferFact,
    reversal_id: str,
    status: str | None = None,
    amount: int | None = None,
) -> dict[str, ReversalRow]:
    row = reversals.rows[reversal_id]
    changed = row._replace(
        status=status or row.status, amount=row.amount if amount is None else amount
    )
    waiting = changed.waiting_for if changed.status == _QUEUED else None
    return {reversal_id: changed._replace(waiting_for=waiting, updated_at=fact.timestamp)}


def _settled(
    reversals: Reversals, fact: facts.PartiallyReversed | facts.Reversed
) -> dict[str, ReversalRow]:
    row = reversals.rows[fact.reversal_id]._replace(
        amount=fact.amount, status=_REVERSED, settled_by=fact.settled_by
    )
    return {
        fact.reversal_id: row._replace(
            stripe_reversal_id=fact.stripe_reversal_id, updated_at=fact.timestamp
        )
    }


def _waiting(
    reversals: Reversals, fact: AnyTransferFact, waiting_for: str, but: str | None = None
) -> dict[str, ReversalRow]:
    """Return the queued reversals with a new `waiting_for`."""
    queued = {
        n: r
        for n, r in reversals.rows.items()
        if r.status == _QUEUED and n != but and r.waiting_for != waiting_for
    }
    return {
        n: r._replace(waiting_for=waiting_for, updated_at=fact.timestamp) for n, r in queued.items()
    }
