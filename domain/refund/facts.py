"""The facts of a refund's calls to the PSP: intent before the call, and why it has to be tried, or asked about, again."""

from datetime import datetime
from typing import TYPE_CHECKING

from domain.fact import Fact
from domain.provider_call.operation import Operation
from domain.provider_call.psp_objects import RefundBody

if TYPE_CHECKING:
    from domain.refund.aggregate import Refund

REFUND = "refund"
"""The one operation of a refund. Its key is the refund's own id, and has no epochs: the PSP knows a name for ever."""


class CallStarted(Fact):
    """The PSP is about to be asked to give the buyer money back: exactly this body, under exactly this key."""

    TOPIC = "ledger.refund.call_started"
    attempt: int
    key: str
    body: RefundBody

    def apply(self, aggregate: "Refund") -> None:
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

    def apply(self, aggregate: "Refund") -> None:
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
