"""The read model `refunds`: one row per refund, the fold of its one stream."""

from datetime import datetime
from typing import NamedTuple, assert_never
from uuid import UUID

from domain.refund import facts as refund_facts
from domain.refund.facts import AnyRefundFact, AttemptDeferred, CallStarted
from domain.refund.state import Part, RefundStatus


class RefundRow(NamedTuple):
    """A row of `refunds`. Amounts in minor units, times in UTC."""

    stream_id: UUID
    refund_id: str
    psp_refund_id: str | None
    order_id: str
    amount: int
    currency: str
    status: str
    reason: str | None
    allocation: list[Part]
    last_error: str | None
    retry_count: int
    next_retry_at: datetime | None
    """Time of the next call or look-up at the PSP; None once none is due."""
    version: int
    created_at: datetime
    updated_at: datetime


def evolve(row: RefundRow | None, fact: AnyRefundFact) -> RefundRow:
    """Return the row after a fact."""
    if isinstance(fact, refund_facts.Opened):
        return _opened(fact)
    assert row is not None, f"{type(fact).__name__} cannot be the first fact of a stream"
    return _changed(row, fact)._replace(version=fact.originator_version, updated_at=fact.timestamp)


def _opened(fact: refund_facts.Opened) -> RefundRow:
    return RefundRow(
        stream_id=fact.originator_id,
        refund_id=fact.refund_id,
        psp_refund_id=fact.psp_refund_id,
        order_id=fact.order_id,
        amount=fact.amount,
        currency=fact.currency,
        status=(RefundStatus.REQUESTED if fact.origin == "api" else RefundStatus.SUBMITTED).value,
        reason=fact.reason,
        allocation=[],
        last_error=None,
        retry_count=0,
        next_retry_at=fact.timestamp if fact.origin == "api" else None,
        version=fact.originator_version,
        created_at=fact.timestamp,
        updated_at=fact.timestamp,
    )


def _changed(row: RefundRow, fact: AnyRefundFact) -> RefundRow:
    match fact:
        case refund_facts.Named():
            return row._replace(refund_id=fact.refund_id, psp_refund_id=fact.psp_refund_id)
        case CallStarted():
            return row._replace(psp_refund_id=fact.body["refund_id"])
        case AttemptDeferred():
            return row._replace(
                retry_count=fact.retry_count,
                next_retry_at=fact.next_retry_at,
                last_error=fact.detail,
            )
        case refund_facts.Submitted():
            asked = row._replace(
                status=RefundStatus.SUBMITTED.value, psp_refund_id=fact.psp_refund_id
            )
            return asked._replace(retry_count=0, next_retry_at=fact.next_retry_at, last_error=None)
        case refund_facts.Succeeded():
            done = row._replace(status=RefundStatus.SUCCEEDED.value, allocation=fact.allocation)
            return done._replace(last_error=None, next_retry_at=None)
        case refund_facts.Failed():
            return row._replace(
                status=RefundStatus.FAILED.value, last_error=fact.detail, next_retry_at=None
            )
        case refund_facts.UnderReview():
            return row._replace(
                status=RefundStatus.REVIEW.value, last_error=fact.why, next_retry_at=None
            )
        case refund_facts.Opened() | refund_facts.RefundAlarmAcknowledged():
            return row
        case _:
            assert_never(fact)
