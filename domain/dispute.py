"""Aggregate of a dispute between a buyer and the platform, reported in any order.

The last report need not be the last event. Statuses therefore have ranks, and only a status of
higher rank is new. Movements of money are recorded beside the status: a withdrawal may be reported
after the loss, a reinstatement after the win.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import TypedDict, Unpack

from domain.errors import ContentDiffers, Contradiction, Refused
from domain.fact import Fact, Opening, Stream, opened
from domain.identity import dispute_stream

TOPIC = "ledger.dispute"


class DisputeStatus(StrEnum):
    """Status of a dispute at the provider that took the payment."""

    OPENED = "opened"
    """The buyer's bank asks, and a person has to answer."""
    CHALLENGED = "challenged"
    """The platform has answered, and the bank decides."""
    WITHDRAWN = "withdrawn"
    """The bank has taken the money back from the platform."""
    CLOSED = "closed"
    """The dispute ended without a decision: an inquiry was closed, or the buyer withdrew."""
    LOST = "lost"
    REINSTATED = "reinstated"
    """The platform has its money back."""
    WON = "won"


_D = DisputeStatus

RANK: Mapping[DisputeStatus, int] = MappingProxyType(
    {status: rank for rank, status in enumerate(DisputeStatus)}
)
"""A report counts only if its status ranks higher than the recorded one, so that every order of
reports ends the same."""

OVER = frozenset({_D.REINSTATED, _D.WON})
"""Statuses after which a dispute cannot be lost."""


class DisputePolicy(StrEnum):
    """Setting: when the sellers bear their shares of a dispute."""

    WITHDRAWAL = "withdrawal"
    """From the moment at which the bank takes the money from the platform."""
    LOST = "lost"
    """Only when the dispute is lost. Until then the platform bears it."""


def enter(dispute: "Dispute", status: DisputeStatus) -> None:
    """Set the status of a dispute; no other code does."""
    dispute.status = status


def later(known: DisputeStatus, reported: DisputeStatus) -> DisputeStatus:
    """Return the status of higher rank."""
    return max(known, reported, key=RANK.__getitem__)


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
    """A dispute became known, by a report of any status."""

    TOPIC = "ledger.dispute.opened"
    dispute_id: str
    provider: str
    """Provider that assigned the id: `stripe` or `hyperswitch`."""
    order_id: str
    amount: int
    currency: str
    reason: str | None
    source: str

    def apply(self, aggregate: "Dispute") -> None:
        aggregate.dispute_id, aggregate.provider, aggregate.order_id = (
            self.dispute_id,
            self.provider,
            self.order_id,
        )
        aggregate.amount, aggregate.currency = self.amount, self.currency
        enter(aggregate, DisputeStatus.OPENED)


class DisputeUpdate(Fact):
    """Base of the facts about a known dispute. `source` is the webhook that reported the fact."""

    LEADS_TO = DisputeStatus.OPENED
    source: str

    def apply(self, aggregate: "Dispute") -> None:
        enter(aggregate, later(aggregate.status, self.LEADS_TO))


class Restated(DisputeUpdate):
    """The amount changed before any money moved: an inquiry became a dispute of a part."""

    TOPIC = "ledger.dispute.restated"
    amount: int

    def apply(self, aggregate: "Dispute") -> None:
        aggregate.amount = self.amount
        super().apply(aggregate)


class Challenged(DisputeUpdate):
    """The platform has answered."""

    TOPIC = "ledger.dispute.challenged"
    LEADS_TO = DisputeStatus.CHALLENGED


class EvidenceRequested(DisputeUpdate):
    """The provider wants the platform's evidence before an instant, which may change."""

    TOPIC = "ledger.dispute.evidence_requested"
    evidence_due_by: datetime
    dispute_id: str
    provider: str
    order_id: str
    amount: int
    currency: str

    def apply(self, aggregate: "Dispute") -> None:
        aggregate.evidence_due_by = self.evidence_due_by
        super().apply(aggregate)


class FundsWithdrawn(DisputeUpdate):
    """The bank has taken the money back from the platform."""

    TOPIC = "ledger.dispute.funds_withdrawn"
    LEADS_TO = DisputeStatus.WITHDRAWN

    def apply(self, aggregate: "Dispute") -> None:
        aggregate.withdrawn = True
        super().apply(aggregate)


class Closed(DisputeUpdate):
    """The dispute ended without a decision."""

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


class ReinstatedInPart(DisputeUpdate):
    """Only a part of the money came back. A person decides how much of the order the dispute still
    takes."""

    TOPIC = "ledger.dispute.reinstated_in_part"
    still_withdrawn: dict[str, int]
    """Amount that the platform has not got back, by currency, as the provider counts it."""

    def apply(self, aggregate: "Dispute") -> None:
        aggregate.still_withdrawn, aggregate.undecided = self.still_withdrawn, True
        super().apply(aggregate)


class PartDecided(DisputeUpdate):
    """A person decided that the dispute takes `amount` of the order."""

    TOPIC = "ledger.dispute.part_decided"
    amount: int
    actor: str
    reason: str

    def apply(self, aggregate: "Dispute") -> None:
        aggregate.decided_amount, aggregate.undecided = self.amount, False
        super().apply(aggregate)


_FACTS: Mapping[DisputeStatus, type[DisputeUpdate]] = MappingProxyType(
    {
        kind.LEADS_TO: kind
        for kind in (Challenged, FundsWithdrawn, Closed, Lost, FundsReinstated, Won)
    }
)


class Dispute(Stream, topic=TOPIC, opening=Opened):
    """One dispute. Amount in minor units."""

    def __init__(self) -> None:
        self.status: DisputeStatus
        self.withdrawn = self.reinstated = False
        self.evidence_due_by: datetime | None = None
        self.still_withdrawn: dict[str, int] = {}
        """Amount that the platform has not got back, by currency; empty until a part came back."""
        self.undecided = False
        """True while a part of the money came back and a person has not decided about the rest."""
        self.decided_amount: int | None = None
        """Amount of the order that the dispute takes by the decision of a person."""
        self.dispute_id = self.provider = self.order_id = self.currency = ""
        self.amount = 0

    @classmethod
    def open(cls, now: datetime, **opening: Unpack[DisputeOpening]) -> "Dispute":
        """Open the stream of a dispute that becomes known now."""
        stream_id = dispute_stream(opening["provider"], opening["dispute_id"])
        return opened(cls, Opened(**cls.first(stream_id, now), **opening))

    def agree(self, order_id: str, amount: int, currency: str) -> None:
        """Check that a report has the recorded content. Raises ContentDiffers, naming the members
        that differ."""
        same = {
            "order_id": self.order_id == order_id,
            "amount": self.amount == amount,
            "currency": self.currency == currency,
        }
        if not all(same.values()):
            raise ContentDiffers(
                "dispute", self.dispute_id, [name for name, equal in same.items() if not equal]
            )

    def restate(self, amount: int, source: str, now: datetime) -> bool:
        """Record another amount, as long as no money has moved. Returns whether that is new.

        After that `agree` refuses another amount: an old report may come late.
        """
        if amount == self.amount or self.withdrawn or self.status in (_D.LOST, *OVER):
            return False
        self.record(Restated(**self.next(now), source=source, amount=amount))
        return True

    def report(self, status: DisputeStatus, source: str, now: datetime) -> bool:
        """Record a reported status. Returns whether it is new. Raises Contradiction for a loss
        after the money came back."""
        if status is _D.LOST and self.status in OVER:
            raise Contradiction("Dispute", self.dispute_id, self.status, status)
        money_moved = (status is _D.WITHDRAWN and not self.withdrawn) or (
            status is _D.REINSTATED and not self.reinstated
        )
        if not money_moved and RANK[status] <= RANK[self.status]:
            return False
        self.record(_FACTS[status](**self.next(now), source=source))
        return True

    def request_evidence(self, due_by: datetime | None, source: str, now: datetime) -> bool:
        """Record a reported deadline of an undecided dispute. Returns whether it is new."""
        decided = self.status in (_D.LOST, *OVER)
        if due_by is None or due_by == self.evidence_due_by or decided:
            return False
        self.record(
            EvidenceRequested(
                **self.next(now),
                source=source,
                evidence_due_by=due_by,
                dispute_id=self.dispute_id,
                provider=self.provider,
                order_id=self.order_id,
                amount=self.amount,
                currency=self.currency,
            )
        )
        return True

    def report_part(self, still_withdrawn: Mapping[str, int], source: str, now: datetime) -> bool:
        """Record that only a part of the money came back. Returns whether a person has to decide.

        The same amounts are recorded once, so that a repeated report asks nothing again. A report
        that comes after the whole money is old.
        """
        if self.reinstated:
            return False
        if dict(still_withdrawn) != self.still_withdrawn:
            fact = ReinstatedInPart(
                **self.next(now), source=source, still_withdrawn=dict(still_withdrawn)
            )
            self.record(fact)
        return self.undecided

    def decide(self, amount: int, actor: str, reason: str, now: datetime) -> None:
        """Record the decision of a person that the dispute takes `amount` of the order. Raises
        Refused."""
        if self.reinstated:
            raise Refused(
                f"The whole money of dispute {self.dispute_id!r} came back, so it takes nothing."
            )
        if not 0 <= amount <= self.amount:
            raise Refused(
                f"Dispute {self.dispute_id!r} is over {self.amount} {self.currency} (minor units); "
                f"give an amount from 0 to {self.amount}, not {amount}."
            )
        decided = PartDecided(
            **self.next(now), source=f"operator:{actor}", amount=amount, actor=actor, reason=reason
        )
        self.record(decided)

    @property
    def decided(self) -> bool:
        """Return whether money has moved, or the dispute has ended."""
        return self.withdrawn or self.status not in (_D.OPENED, _D.CHALLENGED)

    def takes(self, policy: DisputePolicy) -> bool:
        """Return whether the sellers bear their shares of the dispute now."""
        if self.reinstated:
            return False
        return self.withdrawn if policy is DisputePolicy.WITHDRAWAL else self.status is _D.LOST


AnyDisputeFact = (
    Opened
    | Restated
    | EvidenceRequested
    | Challenged
    | FundsWithdrawn
    | Closed
    | Lost
    | FundsReinstated
    | Won
    | ReinstatedInPart
    | PartDecided
)
