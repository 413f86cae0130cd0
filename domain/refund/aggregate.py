"""Aggregate of a refund to a buyer: from the request to the decision of the PSP and its later
correction."""

from collections.abc import Mapping
from datetime import datetime
from typing import Unpack

from domain.errors import ContentDiffers
from domain.fact import opened
from domain.identity import refund_stream
from domain.provider_call.operation import Deferral
from domain.refund.facts import (
    AttemptDeferred,
    Failed,
    Named,
    Opened,
    RefundOpening,
    Submitted,
    Succeeded,
    UnderReview,
)
from domain.refund.state import Part, RefundState, RefundStatus

TOPIC = "ledger.refund"


class Refund(RefundState, topic=TOPIC, opening=Opened):
    """One refund. `key` is its first name, under which the order and its transfers know it."""

    @classmethod
    def open(cls, *, now: datetime, **opening: Unpack[RefundOpening]) -> "Refund":
        """Open a refund that becomes known now."""
        opening.setdefault("psp_refund_id", None)
        fact = Opened(
            originator_id=refund_stream(opening["refund_id"]),
            originator_version=1,
            originator_topic=TOPIC,
            timestamp=now,
            **opening,
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
        """Check that a repeated request is equal. Raises ContentDiffers, which names the members
        that differ."""
        same = {
            "order_id": self.order_id == order_id,
            "amount": amount in (None, self.amount),
            "psp_refund_id": psp_refund_id in (None, self.psp_refund_id),
            "reason": reason in (None, self.reason) or self.reason is None,
            "allocation": explicit is None or explicit == self.explicit,
        }
        if not all(same.values()):
            raise ContentDiffers(
                "refund", self.refund_id, [name for name, equal in same.items() if not equal]
            )

    def name(self, refund_id: str, psp_refund_id: str | None, now: datetime) -> None:
        """Record the caller's name of the refund. Raises ContentDiffers if a caller has named it
        differently."""
        if refund_id != self.refund_id:
            if self.refund_id not in (self.key, self.psp_refund_id):
                raise ContentDiffers("refund", self.refund_id, ["refund_id"])
            self.record(
                Named(
                    **self.next(now),
                    refund_id=refund_id,
                    psp_refund_id=psp_refund_id or self.psp_refund_id,
                )
            )

    def submit(self, psp_refund_id: str, ask_at: datetime, now: datetime) -> None:
        """Record that the PSP acknowledged it; without a decision by `ask_at` the PSP is asked."""
        self.record(Submitted(**self.next(now), psp_refund_id=psp_refund_id, next_retry_at=ask_at))

    def succeed(self, source: str, allocation: list[Part], now: datetime) -> None:
        """Record the success that `source` reports."""
        self.record(Succeeded(**self.next(now), source=source, allocation=allocation))

    def fail(
        self, source: str, detail: str | None, now: datetime, *, dismissed: bool = False
    ) -> None:
        """Record the failure that `source` reports, possibly after a success. A person who has
        `dismissed` the refund is not told."""
        after = self.status is RefundStatus.SUCCEEDED and not dismissed
        self.record(Failed(**self.next(now), source=source, detail=detail, after_success=after))

    def review(self, source: str, why: str, now: datetime) -> None:
        """Record that a person has to decide."""
        self.record(UnderReview(**self.next(now), source=source, why=why))

    def defer(self, deferral: Deferral, now: datetime) -> None:
        """Record that the call to the PSP, or the question to it, is repeated later."""
        self.record(
            AttemptDeferred(
                **self.next(now),
                why=deferral.why,
                detail=deferral.detail,
                retry_count=deferral.retry_count,
                next_retry_at=deferral.next_retry_at,
                open=deferral.open,
                exhausted=deferral.exhausted,
                look_first=deferral.look_first,
                hindered=deferral.hindered,
                hindered_since=deferral.hindered_since,
                lost=deferral.lost,
                undecided_since=deferral.undecided_since,
            )
        )
