"""A dispute of a buyer with his bank: heard of in any order, and never going back.

What is reported last need not have happened last. Statuses therefore have ranks, and only a higher one is news. Where the
money is has a memory of its own beside the status: that funds were withdrawn may be heard of after the dispute was lost, and
that they are back after it was won.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TypedDict, Unpack

from domain.errors import ContentDiffers, Contradiction
from domain.fact import Fact, Opening, Stream, opened
from domain.identity import dispute_stream

TOPIC = "ledger.dispute"


class DisputeStatus(StrEnum):
    """Where a dispute stands at the provider that took the payment."""

    OPENED = "opened"
    """The buyer's bank asks; a person has to answer."""
    CHALLENGED = "challenged"
    """It was answered; the bank decides."""
    WITHDRAWN = "withdrawn"
    """The bank has taken the money back from the platform."""
    CLOSED = "closed"
    """It ended before anybody won or lost: an inquiry that was closed, a buyer who thought better of it."""
    LOST = "lost"
    REINSTATED = "reinstated"
    """The platform has its money back."""
    WON = "won"


_D = DisputeStatus

RANK: Mapping[DisputeStatus, int] = MappingProxyType({status: rank for rank, status in enumerate(DisputeStatus)})
"""What is heard counts only if it ranks higher than what is known: whatever the order of reports, the end is the same."""

OVER = frozenset({_D.REINSTATED, _D.WON})
"""After these it cannot be lost any more."""
ENDED = frozenset({_D.CLOSED, _D.LOST, *OVER})
"""Nobody has to answer any more."""


class DisputePolicy(StrEnum):
    """When a dispute takes from the sellers."""

    WITHDRAWAL = "withdrawal"
    """As soon as the bank has taken the money from the platform."""
    LOST = "lost"
    """Only when it is lost: until then the platform bears it."""


def enter(dispute: "Dispute", status: DisputeStatus) -> None:
    """The one gate through which a dispute's status changes."""
    dispute.status = status


def later(known: DisputeStatus, heard: DisputeStatus) -> DisputeStatus:
    """The one of higher rank."""
    return max(known, heard, key=RANK.__getitem__)


class DisputeOpening(TypedDict):
    """Content of `Opened`."""

    dispute_id: str
    provider: str
    order_id: str
    amount: int
    currency: str
    reason: str | None
    source: str


class Opened(Opening):
    """A dispute became known, whatever was first heard of it."""

    TOPIC = "ledger.dispute.opened"
    dispute_id: str
    provider: str
    """Whose id it is: `stripe` or `hyperswitch`."""
    order_id: str
    amount: int
    currency: str
    reason: str | None
    source: str

    def apply(self, aggregate: "Dispute") -> None:
        aggregate.dispute_id, aggregate.provider, aggregate.order_id = self.dispute_id, self.provider, self.order_id
        aggregate.amount, aggregate.currency = self.amount, self.currency
        enter(aggregate, DisputeStatus.OPENED)


class DisputeUpdate(Fact):
    """What the facts about a known dispute share: who said so."""

    LEADS_TO = DisputeStatus.OPENED
    source: str

    def apply(self, aggregate: "Dispute") -> None:
        enter(aggregate, later(aggregate.status, self.LEADS_TO))


class Restated(DisputeUpdate):
    """It is about another amount than was told before, and no money had moved yet: an inquiry became a dispute of a part."""

    TOPIC = "ledger.dispute.restated"
    amount: int

    def apply(self, aggregate: "Dispute") -> None:
        aggregate.amount = self.amount
        super().apply(aggregate)


class Challenged(DisputeUpdate):
    """The platform has answered."""

    TOPIC = "ledger.dispute.challenged"
    LEADS_TO = DisputeStatus.CHALLENGED


class FundsWithdrawn(DisputeUpdate):
    """The bank has taken the money back from the platform."""

    TOPIC = "ledger.dispute.funds_withdrawn"
    LEADS_TO = DisputeStatus.WITHDRAWN

    def apply(self, aggregate: "Dispute") -> None:
        aggregate.withdrawn = True
        super().apply(aggregate)


class Closed(DisputeUpdate):
    """It ended without being won or lost."""

    TOPIC = "ledger.dispute.closed"
    LEADS_TO = DisputeStatus.CLOSED


class Lost(DisputeUpdate):
    """The bank has decided for the buyer."""

    TOPIC = "ledger.dispute.lost"
    LEADS_TO = DisputeStatus.LOST


class FundsReinstated(DisputeUpdate):
    """The platform has its money back."""

    TOPIC = "ledger.dispute.funds_reinstated"
    LEADS_TO = DisputeStatus.REINSTATED

    def apply(self, aggregate: "Dispute") -> None:
        aggregate.reinstated = True
        super().apply(aggregate)


class Won(DisputeUpdate):
    """The bank has decided for the platform."""

    TOPIC = "ledger.dispute.won"
    LEADS_TO = DisputeStatus.WON


_FACTS: Mapping[DisputeStatus, type[DisputeUpdate]] = MappingProxyType(
    {kind.LEADS_TO: kind for kind in (Challenged, FundsWithdrawn, Closed, Lost, FundsReinstated, Won)}
)


class Dispute(Stream, topic=TOPIC, opening=Opened):
    """One dispute. Amount in minor units."""

    def __init__(self) -> None:
        self.status: DisputeStatus
        self.withdrawn = self.reinstated = False
        self.dispute_id = self.provider = self.order_id = self.currency = ""
        self.amount = 0

    @classmethod
    def open(cls, now: datetime, **opening: Unpack[DisputeOpening]) -> "Dispute":
        """Open the stream of a dispute that becomes known now."""
        stream_id = dispute_stream(opening["provider"], opening["dispute_id"])
        return opened(cls, Opened(**cls.first(stream_id, now), **opening))

    def agree(self, order_id: str, amount: int, currency: str) -> None:
        """Check that a report says the same. Raises ContentDiffers, naming the members that differ."""
        same = {
            "order_id": self.order_id == order_id,
            "amount": self.amount == amount,
            "currency": self.currency == currency,
        }
        if not all(same.values()):
            raise ContentDiffers("dispute", self.dispute_id, [name for name, equal in same.items() if not equal])

    def restate(self, amount: int, source: str, now: datetime) -> bool:
        """Take in another amount, as long as no money has moved; answers whether that is news. Later it is for `agree` to
        refuse it: an old report may come late."""
        if amount == self.amount or self.withdrawn or self.status in (_D.LOST, *OVER):
            return False
        self.record(Restated(**self.next(now), source=source, amount=amount))
        return True

    def hear(self, status: DisputeStatus, source: str, now: datetime) -> bool:
        """Take in a status; answers whether it is news. Raises Contradiction for a loss after the money came back."""
        if status is _D.LOST and self.status in OVER:
            raise Contradiction("Dispute", self.dispute_id, self.status, status)
        unheard = (status is _D.WITHDRAWN and not self.withdrawn) or (status is _D.REINSTATED and not self.reinstated)
        if not unheard and RANK[status] <= RANK[self.status]:
            return False
        self.record(_FACTS[status](**self.next(now), source=source))
        return True

    def takes(self, policy: DisputePolicy) -> bool:
        """Whether the sellers have to bear their shares of it now."""
        if self.reinstated:
            return False
        return self.withdrawn if policy is DisputePolicy.WITHDRAWAL else self.status is _D.LOST


AnyDisputeFact = Opened | Restated | Challenged | FundsWithdrawn | Closed | Lost | FundsReinstated | Won
