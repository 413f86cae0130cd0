"""The facts of a refund's calls to the PSP: intent before the call, and why it has to be tried, or asked about, again."""

from datetime import datetime

from domain.fact import Fact, Opening
from domain.provider_call.operation import Operation
from domain.provider_call.request_body import RefundBody
from domain.refund.state import REFUND, Part, RefundState, RefundStatus


class CallStarted(Fact):
    """The PSP is about to be asked to give the buyer money back: exactly this body, under exactly this key."""

    TOPIC = "ledger.refund.call_started"
    attempt: int
    key: str
    body: RefundBody

    def apply(self, aggregate: RefundState) -> None:
        before = aggregate.operation or Operation(REFUND)
        aggregate.operation = before.started(self.timestamp, self.attempt, before.epoch)
        # its webhook may come before our answer, and names it like this
        aggregate.psp_refund_id = self.body["refund_id"]


class AttemptDeferred(Fact):
    """Not decided yet: the PSP is called again under the same name, or asked what has become of it."""

    TOPIC = "ledger.refund.attempt_deferred"
    why: str
    """`unknown`, `pending`, `not_yet`, `absent`, `look_up_failed`, `held`, or the hindrance."""
    detail: str
    retry_count: int
    next_retry_at: datetime
    open: bool
    exhausted: bool = False
    look_first: bool = False
    hindered: int = 0
    hindered_since: datetime | None = None
    lost: int = 0

    def apply(self, aggregate: RefundState) -> None:
        before = aggregate.operation or Operation(REFUND)
        aggregate.next_retry_at = self.next_retry_at
        aggregate.operation = before.paused(
            epoch=before.epoch,
            open_=self.open,
            retry_count=self.retry_count,
            hindered=self.hindered,
            exhausted=self.exhausted,
            look_first=self.look_first,
            hindered_since=self.hindered_since,
            lost=self.lost,
            looked_at=self.timestamp if self.why == "absent" else None,
        )


def enter(refund: RefundState, status: RefundStatus) -> None:
    """The one gate through which a refund's status changes."""
    refund.status = status


def end(refund: RefundState, status: RefundStatus) -> None:
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

    def apply(self, aggregate: RefundState) -> None:
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

    def apply(self, aggregate: RefundState) -> None:
        aggregate.refund_id, aggregate.psp_refund_id = self.refund_id, self.psp_refund_id


class Submitted(Fact):
    """The PSP acknowledged the refund. Without its word by `next_retry_at` it is asked."""

    TOPIC = "ledger.refund.submitted"
    psp_refund_id: str
    next_retry_at: datetime | None = None

    def apply(self, aggregate: RefundState) -> None:
        aggregate.psp_refund_id = self.psp_refund_id
        attempt = aggregate.operation.attempt if aggregate.operation is not None else 0
        aggregate.operation, aggregate.next_retry_at = Operation(REFUND, attempt=attempt), self.next_retry_at
        enter(aggregate, RefundStatus.SUBMITTED)


class Succeeded(Fact):
    """The buyer has the money. `allocation` says what each seller's share of it is, and how it comes back."""

    TOPIC = "ledger.refund.succeeded"
    source: str
    allocation: list[Part]

    def apply(self, aggregate: RefundState) -> None:
        end(aggregate, RefundStatus.SUCCEEDED)


class Failed(Fact):
    """The buyer does not get the money, possibly after it had been reported as succeeded."""

    TOPIC = "ledger.refund.failed"
    source: str
    detail: str | None
    after_success: bool

    def apply(self, aggregate: RefundState) -> None:
        end(aggregate, RefundStatus.FAILED)


class UnderReview(Fact):
    """A person has to decide; nothing is taken from the sellers meanwhile."""

    TOPIC = "ledger.refund.under_review"
    source: str
    why: str

    def apply(self, aggregate: RefundState) -> None:
        end(aggregate, RefundStatus.REVIEW)


AnyRefundFact = Opened | Named | CallStarted | AttemptDeferred | Submitted | Succeeded | Failed | UnderReview
