"""End of the automatic attempts of a transfer or of its running reversal."""

from datetime import datetime

from domain.lifecycle import TransferStatus
from domain.provider_call.reasons import FailureReason
from domain.seller_transfer import facts
from domain.seller_transfer.state import TransferState


def stop(
    transfer: TransferState,
    reason: FailureReason,
    detail: str,
    request_id: str | None,
    now: datetime,
) -> None:
    """Give the running operation up; a person has to decide."""
    operation = transfer.operation
    assert operation is not None
    if transfer.status is TransferStatus.PENDING:
        transfer.record(
            facts.Failed(
                **transfer.next(now),
                reason=reason.value,
                code=None,
                detail=detail,
                retry_count=operation.retry_count,
                next_retry_at=now,
                epoch=operation.epoch,
                request_id=request_id,
            )
        )
    give_up(transfer, reason, detail, request_id, now)


def give_up(
    transfer: TransferState,
    reason: FailureReason,
    detail: str,
    request_id: str | None,
    now: datetime,
) -> None:
    """Record that the automatic attempts have ended."""
    transfer.record(
        facts.PermanentlyFailed(
            **transfer.next(now), reason=reason.value, detail=detail, request_id=request_id
        )
    )
