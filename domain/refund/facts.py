"""The facts of a refund: opening, calls to the PSP, and the decision."""

from datetime import datetime
from typing import NotRequired, TypedDict

from domain.alarm import RefundAlarmAcknowledged as RefundAlarmAcknowledged
from domain.fact import Fact, Opening
from domain.provider_call.operation import Deferral, Operation
from domain.provider_call.reasons import DeferralReason
from domain.provider_call.request_body import RefundBody
from domain.refund.state import REFUND, Part, RefundState, RefundStatus


class CallStarted(Fact):
    """A refund is about to be requested at the PSP, with exactly this body and key."""

    TOPIC = "ledger.refund.call_started"
    attempt: int
    key: str
    body: RefundBody

    def apply(self, aggregate: RefundState) -> None:
        before = aggregate.operation or Operation(REFUND)
        aggregate.operation = before.started(self.timestamp, self.attempt, before.epoch)
        # a webhook with this name may arrive before the answer to the call
        aggregate.psp_refund_id = self.body["refund_id"]


class AttemptDeferred(Fact):
    """The PSP has not decided: it is called again under the same name, or asked about the
    refund."""

    TOPIC = "ledger.refund.attempt_deferred"
    why: str
    """A value of `DeferralReason`."""
    detail: str
    retry_count: int
    next_retry_at: datetime
    open: bool
    exhausted: bool = False
    look_first: bool = False
    hindered: int = 0
    hindered_since: datetime | None = None
    lost: int = 0
    undecided_since: datetime | None = None
    """Set once the PSP has not decided for `Policy.undecided_after`; `detail` says what waits."""

    def apply(self, aggregate: RefundState) -> None:
        before = aggregate.operation or Operation(REFUND)
        aggregate.next_retry_at = self.next_retry_at
        aggregate.held = self.why == DeferralReason.HELD
        deferral = Deferral(
            why=self.why,
            detail=self.detail,
            next_retry_at=self.next_retry_at,
            retry_count=self.retry_count,
            epoch=before.epoch,
            open=self.open,
            exhausted=self.exhausted,
            look_first=self.look_first,
            hindered=self.hindered,
            hindered_since=self.hindered_since,
            lost=self.lost,
            undecided_since=self.undecided_since,
        )
        aggregate.operation = before.deferred(deferral, self.timestamp)


def enter(refund: RefundState, status: RefundStatus) -> None:
    """Set the status of a refund. No other code assigns it (see tests/domain/test_one_gate.py)."""
    refund.status = status


def end(refund: RefundState, status: RefundStatus) -> None:
    """Set a final status: the PSP is neither called nor asked about the refund any more."""
    refund.operation, refund.next_retry_at, refund.held = None, None, False
    enter(refund, status)


class RefundOpening(TypedDict):
    """The caller's part of `Opened`."""

    refund_id: str
    order_id: str
    amount: int
    currency: str
    origin: str
    psp_refund_id: NotRequired[str | None]
    reason: NotRequired[str | None]
    explicit: NotRequired[dict[str, int] | None]
    payment_id: NotRequired[str | None]


class Opened(Opening):
    """A refund became known: requested here (`requested`), or reported by the PSP or the
    marketplace (`submitted`)."""

    TOPIC = "ledger.refund.opened"
    refund_id: str
    order_id: str
    amount: int
    currency: str
    psp_refund_id: str | None
    origin: str
    """`api`, `settled` (made elsewhere), or `psp` (first reported by a webhook)."""
    reason: str | None = None
    explicit: dict[str, int] | None = None
    payment_id: str | None = None
    """Id of the payment at the PSP that is to be refunded, if the ledger requests the refund."""

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
    """The caller named a refund that was first reported under the PSP's name."""

    TOPIC = "ledger.refund.named"
    refund_id: str
    psp_refund_id: str | None

    def apply(self, aggregate: RefundState) -> None:
        aggregate.refund_id, aggregate.psp_refund_id = self.refund_id, self.psp_refund_id


class Submitted(Fact):
    """The PSP acknowledged the refund. Without a decision by `next_retry_at` the PSP is asked."""

    TOPIC = "ledger.refund.submitted"
    psp_refund_id: str
    next_retry_at: datetime | None = None

    def apply(self, aggregate: RefundState) -> None:
        aggregate.psp_refund_id = self.psp_refund_id
        attempt = aggregate.operation.attempt if aggregate.operation is not None else 0
        aggregate.operation, aggregate.next_retry_at = (
            Operation(REFUND, attempt=attempt),
            self.next_retry_at,
        )
        enter(aggregate, RefundStatus.SUBMITTED)


class Succeeded(Fact):
    """The buyer has the money. `allocation` lists the share of each seller and its reversal."""

    TOPIC = "ledger.refund.succeeded"
    source: str
    allocation: list[Part]

    def apply(self, aggregate: RefundState) -> None:
        end(aggregate, RefundStatus.SUCCEEDED)


class Failed(Fact):
    """The buyer does not get the money, possibly after a reported success."""

    TOPIC = "ledger.refund.failed"
    source: str
    detail: str | None
    after_success: bool

    def apply(self, aggregate: RefundState) -> None:
        end(aggregate, RefundStatus.FAILED)


class UnderReview(Fact):
    """A person has to decide; until then nothing is taken from the sellers."""

    TOPIC = "ledger.refund.under_review"
    source: str
    why: str

    def apply(self, aggregate: RefundState) -> None:
        end(aggregate, RefundStatus.REVIEW)


AnyRefundFact = (
    Opened
    | Named
    | CallStarted
    | AttemptDeferred
    | Submitted
    | Succeeded
    | Failed
    | UnderReview
    | RefundAlarmAcknowledged
)
