"""State of a refund: its status at the PSP, and its names."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NotRequired, TypedDict

from domain.fact import Stream
from domain.provider_call.operation import Operation


class RefundStatus(StrEnum):
    """Where a refund stands at the PSP."""

    REQUESTED = "requested"
    """Wanted here; the PSP has not acknowledged it."""
    SUBMITTED = "submitted"
    """The PSP knows it and has not decided."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REVIEW = "review"
    """A person decides: at the PSP, or here when it cannot be divided among the sellers."""


REFUND = "refund"
"""The one operation of a refund. Its key is the refund's own id, and has no epochs: the PSP knows a name for ever."""


_R = RefundStatus


REFUND_TRANSITIONS: Mapping[RefundStatus, frozenset[RefundStatus]] = MappingProxyType(
    {
        _R.REQUESTED: frozenset({_R.SUBMITTED, _R.SUCCEEDED, _R.FAILED, _R.REVIEW}),
        _R.SUBMITTED: frozenset({_R.SUCCEEDED, _R.FAILED, _R.REVIEW}),
        _R.REVIEW: frozenset({_R.SUCCEEDED, _R.FAILED}),
        _R.SUCCEEDED: frozenset({_R.FAILED}),  # a bank refuses days later
        _R.FAILED: frozenset({_R.SUCCEEDED}),  # a wrong report, corrected
    }
)
"""What the PSP's word may change. A status that is not reachable is old news."""


class Part(TypedDict):
    """What a refund takes from one seller by one transfer; `reversal_id` is None where less was sent instead."""

    seller_id: str
    amount: int
    transfer_id: str | None
    reversal_id: str | None
    status: NotRequired[str]


class RefundState(Stream):
    """State of one refund. `key` is the name the order and its transfers know it by: the first it had."""

    def __init__(self) -> None:
        self.status: RefundStatus
        self.key = self.refund_id = self.order_id = self.currency = ""
        self.amount = 0
        self.psp_refund_id: str | None = None
        self.reason: str | None = None
        self.explicit: dict[str, int] | None = None
        self.payment_id: str | None = None
        self.operation: Operation | None = None
        """Our call to the PSP, or our asking; None where nothing of ours is under way."""
        self.next_retry_at: datetime | None = None

    def may_become(self, status: RefundStatus) -> bool:
        """Whether the PSP's word `status` is news."""
        return status in REFUND_TRANSITIONS[self.status]
