"""Aggregate of a payout from a Stripe account to a seller's bank, which explains why a reversal
finds the balance empty."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TypedDict, Unpack

from domain.fact import Fact, Opening, Stream, opened
from domain.identity import payout_stream

TOPIC = "ledger.payout"


class PayoutStatus(StrEnum):
    """Status of a payout in Stripe's words. Reports come in any order, and only a status of higher
    rank is new."""

    PENDING = "pending"
    IN_TRANSIT = "in_transit"
    PAID = "paid"
    CANCELED = "canceled"
    FAILED = "failed"
    """The bank returned the money, possibly days after the payout was paid."""


RANK: Mapping[PayoutStatus, int] = MappingProxyType(
    {status: rank for rank, status in enumerate(PayoutStatus)}
)


def enter(payout: "Payout", status: PayoutStatus) -> None:
    """Set the status of a payout; no other code does."""
    payout.status = status


class PayoutOpening(TypedDict):
    """Content of `Announced`."""

    payout_id: str
    account: str
    seller_ids: list[str]
    amount: int
    currency: str
    arrival_date: datetime | None
    source: str


class Announced(Opening):
    """A payout became known."""

    TOPIC = "ledger.payout.announced"
    payout_id: str
    """Stripe's `po_…`."""
    account: str
    seller_ids: list[str]
    """Sellers whose transfers go to this account."""
    amount: int
    currency: str
    arrival_date: datetime | None
    source: str

    def apply(self, aggregate: "Payout") -> None:
        aggregate.payout_id, aggregate.account = self.payout_id, self.account
        enter(aggregate, PayoutStatus.PENDING)


class PayoutUpdate(Fact):
    """Base of the facts about a known payout. `source` is the webhook that reported the fact."""

    LEADS_TO = PayoutStatus.PENDING
    source: str

    def apply(self, aggregate: "Payout") -> None:
        enter(aggregate, self.LEADS_TO)


class Sent(PayoutUpdate):
    """The payout is on its way to the bank."""

    TOPIC = "ledger.payout.sent"
    LEADS_TO = PayoutStatus.IN_TRANSIT


class Arrived(PayoutUpdate):
    """The bank has received the payout, as far as Stripe knows."""

    TOPIC = "ledger.payout.arrived"
    LEADS_TO = PayoutStatus.PAID


class Canceled(PayoutUpdate):
    """The payout was canceled before it left Stripe."""

    TOPIC = "ledger.payout.canceled"
    LEADS_TO = PayoutStatus.CANCELED


class Failed(PayoutUpdate):
    """The bank returned the payout: the money is on the seller's Stripe balance again."""

    TOPIC = "ledger.payout.failed"
    LEADS_TO = PayoutStatus.FAILED
    detail: str | None = None


class Payout(Stream, topic=TOPIC, opening=Announced):
    """One payout of one account."""

    def __init__(self) -> None:
        self.status: PayoutStatus
        self.payout_id = self.account = ""

    @classmethod
    def announce(cls, now: datetime, **opening: Unpack[PayoutOpening]) -> "Payout":
        """Open the stream of a payout that becomes known now."""
        stream_id = payout_stream(opening["account"], opening["payout_id"])
        return opened(cls, Announced(**cls.first(stream_id, now), **opening))

    def report(self, status: PayoutStatus, detail: str | None, source: str, now: datetime) -> bool:
        """Record a reported status. Returns whether it is new."""
        if RANK[status] <= RANK[self.status]:
            return False
        match status:
            case PayoutStatus.IN_TRANSIT:
                self.record(Sent(**self.next(now), source=source))
            case PayoutStatus.PAID:
                self.record(Arrived(**self.next(now), source=source))
            case PayoutStatus.CANCELED:
                self.record(Canceled(**self.next(now), source=source))
            case PayoutStatus.FAILED:
                self.record(Failed(**self.next(now), source=source, detail=detail))
        return True


AnyPayoutFact = Announced | Sent | Arrived | Canceled | Failed
