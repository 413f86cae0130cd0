"""A refund of a buyer, under all its names: from the wish to the PSP's word, and to its correction days later."""

from collections.abc import Mapping
from datetime import datetime

from domain.errors import ContentDiffers
from domain.fact import opened
from domain.identity import refund_stream
from domain.refund.facts import Failed, Named, Opened, Submitted, Succeeded, UnderReview
from domain.refund.state import Part, RefundState, RefundStatus

TOPIC = "ledger.refund"


class Refund(RefundState, topic=TOPIC, opening=Opened):
    """One refund. `key` is the name the order and its transfers know it by: the first it had."""

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
