"""A refund of a buyer, under all its names: from the wish to the PSP's word, and to its correction days later."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import NotRequired, TypedDict

from domain.errors import ContentDiffers
from domain.fact import Fact, Opening, Stream, opened
from domain.identity import refund_stream
from domain.provider_call.operation import Operation
from domain.refund.facts import REFUND, AttemptDeferred, CallStarted

TOPIC = "ledger.refund"


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


def enter(refund: "Refund", status: RefundStatus) -> None:
    """The one gate through which a refund's status changes."""
    refund.status = status


def end(refund: "Refund", status: RefundStatus) -> None:
    """It is decided, here or by a person: the PSP is neither called nor asked about it any more."""
    refund.operation = refund.next_retry_at = None
    enter(refund, status)


class Opened(Opening):
    """A refund became known: wished for here (`requested`), or reported by the PSP or the marketplace (`submitted`)."""

    TOPIC = "ledger.refund.opened"
    refund_id: str
    order_id: str
    amount: int
    currency: str
    psp_refund_id: str | None
    origin: str
    """`api`, `settled` (already done elsewhere), or `psp` (first heard of in a webhook)."""
    reason: str | None = None
    explicit: dict[str, int] | None = None
    payment_id: str | None = None
    """The PSP's payment that is to be refunded, where we ask for it."""

    def apply(self, aggregate: "Refund") -> None:
        aggregate.refund_id, aggregate.order_id = self.refund_id, self.order_id
        aggregate.amount, aggregate.currency = self.amount, self.currency
        aggregate.psp_refund_id, aggregate.reason = self.psp_refund_id, self.reason
        aggregate.explicit, aggregate.key = self.explicit, self.refund_id
        aggregate.payment_id = self.payment_id
        if self.origin == "api":
            aggregate.operation, aggregate.next_retry_at = Operation(REFUND), self.timestamp
        enter(aggregate, RefundStatus.REQUESTED if self.origin == "api" else RefundStatus.SUBMITTED)


class Named(Fact):
    """The caller's own name for a refund that was first heard of under the PSP's."""

    TOPIC = "ledger.refund.named"
    refund_id: str
    psp_refund_id: str | None

    def apply(self, aggregate: "Refund") -> None:
        aggregate.refund_id, aggregate.psp_refund_id = self.refund_id, self.psp_refund_id


class Submitted(Fact):
    """The PSP acknowledged the refund. Without its word by `next_retry_at` it is asked."""

    TOPIC = "ledger.refund.submitted"
    psp_refund_id: str
    next_retry_at: datetime | None = None

    def apply(self, aggregate: "Refund") -> None:
        aggregate.psp_refund_id = self.psp_refund_id
        attempt = aggregate.operation.attempt if aggregate.operation is not None else 0
        aggregate.operation, aggregate.next_retry_at = Operation(REFUND, attempt=attempt), self.next_retry_at
        enter(aggregate, RefundStatus.SUBMITTED)


class Succeeded(Fact):
    """The buyer has the money. `allocation` says what each seller's share of it is, and how it comes back."""

    TOPIC = "ledger.refund.succeeded"
    source: str
    allocation: list[Part]

    def apply(self, aggregate: "Refund") -> None:
        end(aggregate, RefundStatus.SUCCEEDED)


class Failed(Fact):
    """The buyer does not get the money, possibly after it had been reported as succeeded."""

    TOPIC = "ledger.refund.failed"
    source: str
    detail: str | None
    after_success: bool

    def apply(self, aggregate: "Refund") -> None:
        end(aggregate, RefundStatus.FAILED)


class UnderReview(Fact):
    """A person has to decide; nothing is taken from the sellers meanwhile."""

    TOPIC = "ledger.refund.under_review"
    source: str
    why: str

    def apply(self, aggregate: "Refund") -> None:
        end(aggregate, RefundStatus.REVIEW)


class Refund(Stream):
    """One refund. `key` is the name the order and its transfers know it by: the first it had."""

    TOPIC = TOPIC
    Event = Fact  # type: ignore[assignment]  # see `Stream`
    Created = Opened  # type: ignore[assignment]  # see `Stream`

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

    @classmethod
    def open(
        cls,
        *,
        refund_id: str,
        order_id: str,
        amount: int,
        currency: str,
        origin: str,
        now: datetime,
        psp_refund_id: str | None = None,
        reason: str | None = None,
        explicit: dict[str, int] | None = None,
        payment_id: str | None = None,
    ) -> "Refund":
        """A refund that becomes known now."""
        fact = Opened(
            originator_id=refund_stream(refund_id),
            originator_version=1,
            originator_topic=TOPIC,
            timestamp=now,
            refund_id=refund_id,
            order_id=order_id,
            amount=amount,
            currency=currency,
            psp_refund_id=psp_refund_id,
            origin=origin,
            reason=reason,
            explicit=explicit,
            payment_id=payment_id,
        )
        return opened(cls, fact)

    def agree(
        self,
        order_id: str,
        amount: int | None,
        psp_refund_id: str | None,
        reason: str | None,
        explicit: Mapping[str, int] | None,
    ) -> None:
        """Check that a repetition says the same. Raises ContentDiffers, naming the members that differ."""
        same = {
            "order_id": self.order_id == order_id,
            "amount": amount in (None, self.amount),
            "psp_refund_id": psp_refund_id in (None, self.psp_refund_id),
            "reason": reason in (None, self.reason) or self.reason is None,
            "allocation": explicit is None or explicit == self.explicit,
        }
        if not all(same.values()):
            raise ContentDiffers("refund", self.refund_id, [name for name, equal in same.items() if not equal])

    def may_become(self, status: RefundStatus) -> bool:
        """Whether the PSP's word `status` is news."""
        return status in REFUND_TRANSITIONS[self.status]

    def name(self, refund_id: str, psp_refund_id: str | None, now: datetime) -> None:
        """Take over the caller's own name. Raises ContentDiffers when it has another one of a caller already."""
        if refund_id != self.refund_id:
            if self.refund_id not in (self.key, self.psp_refund_id):
                raise ContentDiffers("refund", self.refund_id, ["refund_id"])
            self.record(Named(**self.next(now), refund_id=refund_id, psp_refund_id=psp_refund_id or self.psp_refund_id))

    def submit(self, psp_refund_id: str, ask_at: datetime, now: datetime) -> None:
        """The PSP took it in."""
        self.record(Submitted(**self.next(now), psp_refund_id=psp_refund_id, next_retry_at=ask_at))

    def succeed(self, source: str, allocation: list[Part], now: datetime) -> None:
        """The PSP says it succeeded."""
        self.record(Succeeded(**self.next(now), source=source, allocation=allocation))

    def fail(self, source: str, detail: str | None, now: datetime) -> None:
        """The PSP says it failed."""
        after = self.status is RefundStatus.SUCCEEDED
        self.record(Failed(**self.next(now), source=source, detail=detail, after_success=after))

    def review(self, source: str, why: str, now: datetime) -> None:
        """A person has to decide."""
        self.record(UnderReview(**self.next(now), source=source, why=why))


AnyRefundFact = Opened | Named | CallStarted | AttemptDeferred | Submitted | Succeeded | Failed | UnderReview
