"""State of a refund: its status at the PSP, and its names."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NotRequired, TypedDict

from domain.fact import Stream
from domain.provider_call.operation import Operation


class RefundStatus(StrEnum):
    """Status of a refund at the PSP."""

    REQUESTED = "requested"
    """Requested here; the PSP has not acknowledged it."""
    SUBMITTED = "submitted"
    """Known to the PSP, which has not decided."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REVIEW = "review"
    """To be decided by a person: at the PSP, or here if it cannot be divided among the sellers."""


REFUND = "refund"
"""The one operation of a refund. Its key is the id of the refund and has no epochs, since the PSP
never forgets a name."""


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
"""Statuses that a report of the PSP may lead to. A report of any other status is outdated."""


class Part(TypedDict):
    """The part of a refund that one transfer of one seller bears; `reversal_id` is None if less was
    sent instead."""

    seller_id: str
    amount: int
    transfer_id: str | None
    reversal_id: str | None
    status: NotRequired[str]


class RefundState(Stream):
    """State of one refund. `key` is the id under which the refund was first recorded; the order and
    its transfers use it."""

    def __init__(self) -> None:
        self.status: RefundStatus
        self.key = self.refund_id = self.order_id = self.currency = ""
        self.amount = 0
        self.psp_refund_id: str | None = None
        self.reason: str | None = None
        self.explicit: dict[str, int] | None = None
        self.payment_id: str | None = None
        self.held = False
        """True if the PSP's answer disagrees with the record, so that a person has to decide."""
        self.operation: Operation | None = None
        """The call to the PSP or the question to it; None if neither is under way."""
        self.next_retry_at: datetime | None = None

    def may_become(self, status: RefundStatus) -> bool:
        """Return whether a report of `status` is new."""
        return status in REFUND_TRANSITIONS[self.status]
